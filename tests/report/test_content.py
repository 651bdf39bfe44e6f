"""The picture of how well it is known what is in images."""

import numpy as np
import pytest
from PIL import Image

from mgral.pool.content import Calibration
from mgral.report.content import draw_calibration


@pytest.mark.parametrize(("images", "classes"), [(1, 1), (30, 6), (200, 80)])
def test_it_is_drawn_for_few_images_and_for_many_classes(tmp_path, images, classes):
    rng = np.random.default_rng(0)
    counted = rng.poisson(0.3, size=(images, classes)).astype(float)
    calibration = Calibration(tuple(f"$\\frac{row}$ <b>" for row in range(classes)), counted,
                              np.maximum(counted + rng.normal(size=counted.shape) / 3, 0), np.zeros_like(counted))
    draw_calibration(tmp_path / "content.png", calibration)
    with Image.open(tmp_path / "content.png") as picture:
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
        assert picture.width > 800
    assert len(colours) > 20, "axes, dots and bars"


def test_where_nothing_was_learned_it_says_so(tmp_path):
    draw_calibration(tmp_path / "content.png", None)
    draw_calibration(tmp_path / "again.png", None)
    assert (tmp_path / "content.png").read_bytes() == (tmp_path / "again.png").read_bytes()
