"""Small JPEGs of images, upright and in the brightness of their data set."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from mgral.data.dataset import Dataset, ImageId
from mgral.data.decoding import decode

QUALITIES = (80, 60, 40, 25)
"""Of the JPEG, the next where one makes it too long."""


def thumbnail(dataset: Dataset, image_id: ImageId, side: int, room: int) -> bytes:
    """The image as JPEG, no longer than `side` pixels and, as far as quality can do that, `room` bytes.

    Raises:
        DataError: the file is missing, damaged, cut short or of a kind that has no RGB form.
    """
    info = dataset.images[image_id]
    scale = min(1.0, side / max(info.width, info.height))
    size = max(1, round(info.width * scale)), max(1, round(info.height * scale))
    picture = Image.fromarray(decode(dataset.path(image_id), *size, dataset.white))
    encoded = b""
    for quality in QUALITIES:
        with BytesIO() as file:
            picture.save(file, format="JPEG", quality=quality)
            encoded = file.getvalue()
        if len(encoded) <= room:
            break
    return encoded
