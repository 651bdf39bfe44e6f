"""Image files in memory, of kinds that Pillow does not write too, and what is read of them."""

import io
import re
import struct
import zlib

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import putchunk

from mgral.data.headers import read_headers
from mgral.findings import Findings

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def encoded(name, pixels=NOISE, **options):
    """The bytes of a file of this format."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=name, **options)
    return buffer.getvalue()


def wide_png(pixels):
    """A PNG of 16 bits a channel; `pixels` (height, width, 2 to 4): grey with transparency, RGB or RGBA."""
    height, width, channels = pixels.shape
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    putchunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0))
    putchunk(file, b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)))
    putchunk(file, b"IEND")
    return file.getvalue()


def wide_tiff(pixels):
    """An uncompressed TIFF of 16 bits a channel; `pixels` (height, width, 3)."""
    height, width, _ = pixels.shape
    data = pixels.astype("<u2").tobytes()
    bits = struct.pack("<3H", 16, 16, 16)
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2),
               (273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 14 + len(data)) + bits + data + directory


WHOLE = {"jpg": encoded("JPEG"), "png": encoded("PNG"), "gif": encoded("GIF"), "bmp": encoded("BMP"),
         "tif": encoded("TIFF"), "tiff": encoded("TIFF", compression="tiff_lzw"), "webp": encoded("WEBP"),
         "ppm": encoded("PPM"), "jpeg": encoded("JPEG", progressive=True)}


def ramp(top, shape=(16, 16), colours=0):
    """All values from 0 to `top`, in 16 bits."""
    values = np.linspace(0, top, np.prod(shape)).astype(np.uint16).reshape(shape)
    return np.stack([values] * colours, axis=-1) if colours else values


def header_of(root, content, name="a.jpg", max_pixels=10**6):
    """The header, or the one problem, of a file with this content."""
    (root / name).write_bytes(content)
    return read(root, [name], max_pixels)


def read(root, names, max_pixels=10**6, cache=None):
    """The first header, or the one problem."""
    findings = Findings()
    headers = read_headers(root, names, cache, max_pixels, findings)
    if not findings.problems:
        return headers[names[0]]
    (problem,) = findings.problems
    assert set(headers) < set(names)
    assert re.match(r".+: expected .+, got .+; .+", problem, re.DOTALL)
    assert "\n" not in problem
    return problem
