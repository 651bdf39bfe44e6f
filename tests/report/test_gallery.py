import numpy as np
from PIL import Image

from mgral.data.dataset import Dataset, ImageInfo
from mgral.pool.inspection import Detections
from mgral.report.gallery import CELL, GAP, LINE, draw_gallery


def test_images_are_shown_upright_and_in_the_range_of_the_data_set(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    red_left = np.zeros((30, 40, 3), dtype=np.uint8)
    red_left[:, :20, 0] = 255
    Image.fromarray(red_left).save(tmp_path / "phone.jpg", exif=exif, quality=98)
    Image.fromarray(np.full((40, 40), 4095, dtype=np.uint16)).save(tmp_path / "wide.png")
    images = {"phone.jpg": ImageInfo("phone.jpg", "phone.jpg", 30, 40),
              "wide.png": ImageInfo("wide.png", "wide.png", 40, 40)}
    dataset = Dataset(tmp_path, ("a",), (1,), images, {}, white=4095)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    draw_gallery(tmp_path / "sheet.jpg", dataset, list(images), dict.fromkeys(images, nothing))
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    top = 2 * (LINE + GAP)
    phone, wide = sheet[top:top + CELL, GAP:GAP + CELL], sheet[top:top + CELL, 2 * GAP + CELL:2 * (GAP + CELL)]
    np.testing.assert_allclose(phone[20, 60], (255, 0, 0), atol=30)
    np.testing.assert_allclose(phone[140, 60], (0, 0, 0), atol=30)
    np.testing.assert_allclose(wide[80, 80], (255, 255, 255), atol=10)
