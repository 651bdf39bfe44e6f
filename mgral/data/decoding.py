"""Image files as people see them: upright, RGB, eight bits a channel.

A fully transparent pixel keeps the colour that its file holds for it: transparency is dropped, not blended.
"""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from stat import S_IFREG, S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mgral.data.signatures import HEAD, described, image_format, remedy
from mgral.errors import DataError

LARGE = 2**25
"""Pixels from which on images are decoded one at a time, for the memory's sake."""
THREADS = 4
FULL = 65_535
"""The brightest value of 16 bits."""

_READERS: dict[str, Callable[[BinaryIO], ImageFile]] = {
    "BMP": BmpImageFile, "GIF": GifImageFile, "JPEG": JpegImageFile, "PNG": PngImageFile, "PPM": PpmImageFile,
    "TIFF": TiffImageFile, "WEBP": WebPImageFile}
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"}
_ORIENTATION = 0x0112
_UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90}
_SIDEWAYS = (5, 6, 7, 8)
_NOT_FILES = ((S_ISDIR, "a folder"), (S_ISFIFO, "a named pipe"), (S_ISSOCK, "a socket"), (S_ISCHR, "a device"),
              (S_ISBLK, "a device"))
_one_large = threading.Lock()

Item = TypeVar("Item")
Result = TypeVar("Result")


class ImageFault(DataError):
    """What is wrong with an image file. Faults of one `kind` are counted together."""

    def __init__(self, kind: str, line: str) -> None:
        super().__init__(line)
        self.kind = kind


def decode(path: Path, width: int, height: int, white: int | None = None) -> np.ndarray:
    """Decodes the whole image, resized with antialiasing to `width` × `height` as seen after EXIF rotation.

    Grey, palette, RGBA (transparency dropped) and CMYK files become RGB; of 16-bit files `white` and all above it
    become 255, when absent `FULL`. Its size is not limited here: `read_headers` does that.

    Returns:
        (height, width, 3) uint8.

    Raises:
        DataError: the file is missing, damaged, cut short or of a kind that has no RGB form.
    """
    with opened(path) as image:
        orientation = 1 if image.format == "TIFF" else exif_orientation(image)  # Pillow turns a TIFF upright by itself
        stored = (height, width) if orientation in _SIDEWAYS else (width, height)
        # A JPEG decodes faster at 1/2, 1/4 or 1/8; twice the size asked for leaves the final resize enough to average.
        image.draft(None, (2 * stored[0], 2 * stored[1]))
        with _one_large if image.width * image.height > LARGE else nullcontext():
            small = _eight_bits(image, white or FULL).resize(stored, Image.Resampling.BILINEAR, reducing_gap=3.0)
        if orientation in _UPRIGHT:
            small = small.transpose(_UPRIGHT[orientation])
        return np.asarray(small.convert("RGB"))


def too_large(path: Path, size: tuple[int, int], most: int) -> ImageFault:
    return ImageFault("pixels", f"{shown(path)}: expected at most {most} pixels, got more ({size[0]} × {size[1]} "
                                "pixels); raise data.max_pixels, or scale the image and its boxes down")


def size_as_seen(image: ImageFile) -> tuple[int, int]:
    """Width and height in pixels after EXIF rotation."""
    width, height = image.size
    # Pillow swaps a TIFF's sides for its tag, but only when it decodes it for its XMP data.
    swapped = image.format == "TIFF" and _ORIENTATION in image.tag_v2
    return (height, width) if exif_orientation(image) in _SIDEWAYS and not swapped else (width, height)


def exif_orientation(image: ImageFile) -> int:
    """1 to 8 as EXIF counts, 1 where there is none or no valid one."""
    # Asking a PNG for EXIF data that it has not shown by now would decode all of it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    found = image.getexif().get(_ORIENTATION, 1)
    return found if found in _UPRIGHT else 1


def load(image: ImageFile) -> None:
    """Decodes all of it; raises whatever damage makes Pillow raise."""
    with _one_large if image.width * image.height > LARGE else nullcontext():
        image.load()


def brightest(image: ImageFile) -> int | None:
    """The largest value of a 16-bit image, which it decodes; None for one of eight bits.

    Of 16-bit colours Pillow reads the upper eight bits: the largest value that they leave possible.
    """
    if image.mode.startswith("I"):
        load(image)
        return int(np.asarray(image).max().clip(0, FULL))
    if _is_wide(image):
        load(image)
        colours = image.getextrema()[:3]
        return max(high for _, high in colours) * 256 + 255
    return None


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Result | None, tuple[str, ...]]]:
    """Does `work` on all items with a few threads; gives the result, or None and the problems, in the items' order."""
    def attempt(item: Item) -> tuple[Result | None, tuple[str, ...]]:
        try:
            return work(item), ()
        except DataError as error:
            return None, error.problems

    with silent_pillow(), ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(attempt, items)


@contextmanager
def silent_pillow() -> Iterator[None]:
    """Within it Pillow does not warn of odd metadata. Entered by one thread, outside of those that decode."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def opened(path: Path) -> Iterator[ImageFile]:
    """The image file, identified by its first bytes and not yet decoded; whatever goes wrong becomes an `ImageFault`.

    Only readers of our own formats are ever started, and nothing but a regular file is read: a pipe would wait.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not S_ISREG(mode):
                raise not_regular(path, mode)
            yield image_of(file, file.read(HEAD), path)
    except ImageFault:
        raise
    except Exception as error:  # a damaged file makes Pillow's readers raise almost anything
        raise fault_of(path, error) from error


def image_of(file: BinaryIO, head: bytes, path: Path) -> ImageFile:
    """Pillow's reader of this file.

    Raises:
        ImageFault: none of our formats, or pixels that have no RGB form.
        Exception: whatever a damaged file makes the reader raise.
    """
    name = image_format(head)
    if name is None:
        found = described(head)
        raise ImageFault(found, f"{shown(path)}: expected a readable image, got {found}; {remedy(found)}")
    file.seek(0)
    image = _READERS[name](file)
    if image.mode not in _MODES and not image.mode.startswith("I"):
        what = "floating-point pixels, whose range nobody knows" if image.mode == "F" else f"{image.mode} pixels"
        raise ImageFault(f"mode {image.mode}", f"{shown(path)}: expected a readable image, got {what}; replace the "
                                               "file or convert it to RGB of 8 or 16 bits")
    return image


def shown(path: Path | str) -> str:
    """The path on one line, at most 200 characters of it."""
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode()
                   for letter in str(path))
    return text if len(text) <= 200 else f"{text[:120]}…{text[-70:]}"


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def not_regular(path: Path, mode: int) -> ImageFault:
    found = next((name for is_it, name in _NOT_FILES if is_it(mode)), "something else")
    return ImageFault("no file", f"{shown(path)}: expected an image file, got {found}; remove it or correct the path")


def fault_of(path: Path, error: Exception) -> ImageFault:
    where = shown(path)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageFault("missing", f"{where}: expected an image file, got nothing there; restore it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageFault("pixels", f"{where}: expected at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, got more "
                                    f"({_reason(error)}) and Pillow reads no larger ones of this format; scale the "
                                    "image and its boxes down")
    if _is_name(error):
        return ImageFault("name", f"{where}: expected a file name that the system can hold, got one of "
                                  f"{len(str(path))} characters ({_reason(error)}); correct the name")
    if isinstance(error, OSError) and error.errno is not None:
        mode = os.stat(path).st_mode if os.path.exists(path) else S_IFREG
        return ImageFault("unreadable", f"{where}: expected an image file that can be read, got "
                                        f"{_reason(error)}; check it") if S_ISREG(mode) else not_regular(path, mode)
    return ImageFault("damaged", f"{where}: expected a readable image, got one that is damaged or cut short "
                                 f"({_reason(error)}); replace the file or remove the image from the data set")


def _is_name(error: Exception) -> bool:
    return (isinstance(error, UnicodeEncodeError) or "null byte" in str(error)
            or getattr(error, "errno", None) in (errno.ENAMETOOLONG, errno.EILSEQ))


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shown(text)


def _is_wide(image: ImageFile) -> bool:
    """Whether a colour image has 16 bits a channel."""
    return any(";16" in str(tile[3]) for tile in image.tile) and not image.mode.startswith("I")


def _eight_bits(image: ImageFile, white: int) -> Image.Image:
    """The image in 8 bits a channel: grey where it has no colours, else RGB; decoded whole or at a JPEG's fraction."""
    if image.mode.startswith("I"):
        return Image.fromarray(_table(white)[np.asarray(image).clip(0, FULL)])
    if _is_wide(image) and white != FULL:
        return _wide_colours(image, white)
    if image.mode in ("1", "L"):
        return image.convert("L")
    # Pillow has no direct way from alpha-weighted colours, and warns of one from a palette with transparency.
    between = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}.get(image.mode)
    return (image.convert(between) if between else image).convert("RGB")


def _wide_colours(image: ImageFile, white: int) -> Image.Image:
    if image.format != "PNG":
        # The upper eight bits are all that Pillow reads; each stands for the middle of its 256 values.
        return image.convert("RGB").point(_table(white)[128::256].tolist() * 3)
    import torch
    from torchvision.io import ImageReadMode, decode_image

    image.fp.seek(0)
    encoded = torch.frombuffer(bytearray(image.fp.read()), dtype=torch.uint8)
    colours = decode_image(encoded, ImageReadMode.UNCHANGED).numpy()
    colours = colours[:1].repeat(3, axis=0) if len(colours) < 3 else colours[:3]
    return Image.fromarray(_table(white)[colours.transpose(1, 2, 0)])


@cache
def _table(white: int) -> np.ndarray:
    """(65536,) uint8: what becomes of each value of 16 bits."""
    return (np.arange(FULL + 1).clip(0, white) * 255 // white).astype(np.uint8)
