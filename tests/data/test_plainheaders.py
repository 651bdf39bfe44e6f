import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mgral.data.plainheaders import plain_size
from tests.data.pictures import NOISE, WHOLE, encoded, header_of


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png"])
def test_plain_files_need_no_pillow(tmp_path, ending, monkeypatch):
    def found():
        return header_of(tmp_path, WHOLE[ending] + b"\0" * 20)

    by_pillow = pytest.MonkeyPatch()
    by_pillow.setattr("mgral.data.headers.plain_size", lambda _: None)
    expected = found()
    by_pillow.undo()
    monkeypatch.setattr("mgral.data.headers.opened", lambda *_: pytest.fail("opened"))
    assert found() == expected


PLAIN = {
    "JPEG": WHOLE["jpg"], "progressive": WHOLE["jpeg"], "PNG": WHOLE["png"], "grey PNG": encoded("PNG", NOISE[..., 0]),
    "grey JPEG": encoded("JPEG", NOISE[..., 0]), "comment": encoded("JPEG", comment=b"x" * 300),
    "colours": encoded("JPEG", icc_profile=b"x" * 500), "colours of a PNG": encoded("PNG", icc_profile=b"x" * 99),
    "XMP": encoded("JPEG", xmp=b'tiff:Orientation="6"'),
    "EXIF": encoded("PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
}


@pytest.mark.parametrize("kind", PLAIN)
@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 700), byte=st.integers(0, 255), cut=st.integers(0, 3000))
def test_plain_sizes_are_pillows(kind, place, byte, cut):
    content = (PLAIN[kind][:place] + bytes([byte]) + PLAIN[kind][place + 1:])[:cut]
    found = plain_size(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            size, orientation = image.size, image.getexif().get(0x0112, 1)
    except Exception:
        return
    assert found is None or (found[:2], orientation) == (size, 1)
