"""What kind of file it is, by its first bytes: names lie, and no reader of an unwanted format is ever started."""

from __future__ import annotations

HEAD = 4096
"""First bytes that are looked at."""

UNKNOWN = "a file of no known image format"

_READ = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
         (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
         *((b"P" + number, "PPM") for number in (b"1", b"2", b"3", b"4", b"5", b"6")))

_BRANDS = ((b"avi", "AVIF"), (b"hei", "HEIC"), (b"hev", "HEIC"), (b"mif", "HEIC"), (b"msf", "HEIC"),
           (b"crx", "a Canon raw image (CR3)"), (b"qt", "a video (MOV)"))
"""Of the container that HEIC, AVIF and videos share."""

_OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer"), (b"/annex/objects/", "a git-annex pointer"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"), (b"8BPS", "a Photoshop file (PSD)"), (b"%PDF", "PDF"),
    (b"%!", "PostScript (EPS)"), (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"), (b"\0\0\1\0", "an icon (ICO)"),
    (b"FUJIFILMCCD-RAW", "a Fujifilm raw image (RAF)"), (b"IIU\0", "a Panasonic raw image (RW2)"),
    (b"IIR", "an Olympus raw image (ORF)"), (b"\x93NUMPY", "a NumPy array"), (b"\x89HDF", "HDF5"),
    (b"SIMPLE  =", "FITS"), (b"v/1\1", "OpenEXR"), (b"#?R", "Radiance HDR"), (b"DDS ", "DDS"), (b"icns", "an icon"),
    (b"PK\3\4", "a ZIP archive"), (b"\x1f\x8b", "a gzip file"), (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"), (b"\x1aE\xdf\xa3", "a video (WebM)"), (b"Pf", "a PFM image"),
    (b"PF", "a PFM image"), (b"P7", "a PAM image"), (b"qoif", "QOI"))

_TEXTS = ((b"<!doctype html", "a web page"), (b"<html", "a web page"), (b"<svg", "SVG"), (b"<annotation", "VOC XML"))

REMEDIES = {"a Git LFS pointer": "type `git lfs pull`", "a git-annex pointer": "type `git annex get`",
            "a web page": "download the image again", "nothing but zero bytes": "fetch the file again",
            "an empty file": "fetch the file again or remove the image from the data set",
            UNKNOWN: "replace the file or remove the image from the data set"}


def image_format(head: bytes) -> str | None:
    """Pillow's name of the format that a file begins with, or None where it is none that we read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    found = next((name for signature, name in _READ if head.startswith(signature)), None)
    if found == "PPM" and not head[2:3].isspace():
        return None
    return None if found == "TIFF" and head[8:10] == b"CR" else found


def described(head: bytes) -> str:
    """In words, what a file of none of our formats is."""
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        return next((name for brand, name in _BRANDS if head[8:].startswith(brand)), "a video (MP4)")
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return "a Canon raw image (CR2)"
    known = next((name for signature, name in _OTHERS if head.startswith(signature)), None)
    return known or _text(head) or ("nothing but zero bytes" if not head.strip(b"\0") else UNKNOWN)


def remedy(found: str) -> str:
    """What to do about a file that turned out to be this."""
    return REMEDIES.get(found, "convert it to JPEG or PNG")


def _text(head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = next((name for signature, name in _TEXTS if start.startswith(signature)), None)
    if found is None and start.startswith(b"<?xml"):
        found = next((name for signature, name in _TEXTS if signature in start), UNKNOWN)
    return found
