"""Image files as people see them: upright, RGB, eight bits a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from mgral.errors import DataError

MAX_PIXELS = 89_478_485
"""Pillow's own line between a large photograph and a decompression bomb: 256 MiB of RGB."""
THREADS = 4

_ORIENTATION = 0x0112
_UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90}
_SIDEWAYS = (5, 6, 7, 8)

Item = TypeVar("Item")
Result = TypeVar("Result")


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as seen after EXIF rotation, from the file's header alone.

    Raises:
        DataError: no such file, not an image, or more than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def decode(path: Path, width: int, height: int) -> np.ndarray:
    """Decodes the whole image, resized with antialiasing to `width` × `height` as seen after EXIF rotation.

    Grey, palette, RGBA (transparency dropped), CMYK and 16-bit files become RGB.

    Returns:
        (height, width, 3) uint8.

    Raises:
        DataError: the file is missing, damaged, cut short, too large or of a kind that has no RGB form.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        stored = (height, width) if orientation in _SIDEWAYS else (width, height)
        # A JPEG decodes faster at 1/2, 1/4 or 1/8; twice the size asked for leaves the final resize enough to average.
        image.draft(None, (2 * stored[0], 2 * stored[1]))
        small = _rgb(image).resize(stored, Image.Resampling.BILINEAR, reducing_gap=3.0)
        if orientation in _UPRIGHT:
            small = small.transpose(_UPRIGHT[orientation])
        return np.asarray(small)


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Result | None, tuple[str, ...]]]:
    """Does `work` on all items with a few threads; gives the result, or None and the problems, in the items' order."""
    def attempt(item: Item) -> tuple[Result | None, tuple[str, ...]]:
        try:
            return work(item), ()
        except DataError as error:
            return None, error.problems

    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(attempt, items)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels")
            yield image
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected an image file, got nothing there; restore it") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: expected at most {MAX_PIXELS} pixels, got more ({error}); "
                        "scale the image and its boxes down") from error
    except Exception as error:  # a damaged file makes Pillow's readers raise almost anything
        raise DataError(f"{path}: expected a readable image, got {_reason(error)}; "
                        "replace the file or remove the image from the data set") from error


def _reason(error: Exception) -> str:
    return "a file of no known image format" if isinstance(error, Image.UnidentifiedImageError) else str(error)


def _orientation(image: Image.Image) -> int:
    # Asking a PNG for EXIF data that it has not shown by now would decode all of it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    # Pillow turns a TIFF upright by itself.
    return 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range nobody knows")
    if image.mode.startswith("I"):
        wide = np.asarray(image).clip(0, 65535)
        return Image.fromarray((wide // 257).astype(np.uint8)).convert("RGB")
    # Pillow warns when a palette with transparency goes straight to RGB.
    return (image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("RGB")
