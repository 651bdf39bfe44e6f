"""ImageNet's weights: taken strictly, from the file that is known, and they know what is in a picture."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mgral.detection import imagenet
from mgral.detection.imagenet import classifier, weights_file
from mgral.detection.lite0 import PIXELS
from mgral.errors import ConfigError
from tests.detection.weights import needs_weights

PICTURES = Path(pytest.importorskip("sklearn").__file__).parent / "datasets" / "images"
"""Photographs that scikit-learn carries: a Chinese palace, and a flower that looks much like a daisy."""
CLASSES = {"china.jpg": "palace", "flower.jpg": "daisy"}
NUMBERS = {"palace": 698, "daisy": 985}


@needs_weights
@pytest.mark.parametrize("name", CLASSES)
def test_imagenets_classes_come_out_right(name):
    with Image.open(PICTURES / name) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side)).resize((224, 224))
    pixels = (torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() - PIXELS["mean"][0]) / PIXELS["std"][0]
    with torch.inference_mode():
        shares = classifier()(pixels).softmax(dim=1)[0]
    assert int(shares.argmax()) == NUMBERS[CLASSES[name]]
    assert 0.15 < float(shares.max()) < 0.9


@needs_weights
def test_all_weights_are_taken_and_nothing_of_the_package_runs():
    network = classifier()
    assert sum(weight.numel() for weight in network.parameters()) == 4_652_008
    assert not network.training
    assert imagenet.PACKAGE not in sys.modules


@needs_weights
def test_other_weights_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.pth"
    other.write_bytes(weights_file().read_bytes() + b"more")
    monkeypatch.setattr(imagenet, "weights_file", lambda: other)
    line = "other.pth: expected the weights of version 0.1.0, got others; install them again"
    with pytest.raises(ConfigError, match=line):
        imagenet.check_package()
    torch.save({"layer": torch.zeros(2)}, other)
    monkeypatch.setattr(imagenet, "sha256_of", lambda path: imagenet.DIGEST)
    with pytest.raises(ConfigError, match=line):
        classifier()


def test_a_package_without_the_file_counts_as_none(monkeypatch):
    monkeypatch.setattr(imagenet, "PACKAGE", "defusedxml")
    assert weights_file() is None
    monkeypatch.setattr(imagenet, "PACKAGE", "no_such_package_here")
    assert weights_file() is None
