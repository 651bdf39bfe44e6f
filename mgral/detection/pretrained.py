"""Images as a network sees them that ImageNet has taught: an embedding before there is any detector, without mmdet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mgral.data.dataset import Dataset, ImageId
from mgral.data.decoding import decode, each
from mgral.detection.imagenet import Classifier, classifier
from mgral.detection.inspecting import parts
from mgral.detection.lite0 import HEAD, PIXELS
from mgral.detection.threads import side_by_side
from mgral.errors import DataError
from mgral.findings import Findings
from mgral.progress import current

SIDE = 224
"""Longest side in pixels at which images are looked at: that which the network was taught at."""
PART = 64
"""Images decoded before their pixels are forgotten."""


def pretrained_embedding(dataset: Dataset, ids: Sequence[ImageId], device: str = "cpu") -> np.ndarray:
    """Global mean and maximum of the last maps of EfficientNet-Lite0, (N, 2560) float32, in the order of `ids`.

    Each image is seen on its own, scaled to a longest side of `SIDE` and without padding, so that its numbers do not
    depend on the others. 1,000 images of 640 × 480 take 20 s on one core of a CPU.

    Raises:
        ConfigError: the package that carries the weights is missing or another.
        DataError: images that cannot be decoded, all of them, like faults counted.
    """
    network, findings = classifier().to(device).to(memory_format=torch.channels_last), Findings()
    found = np.zeros((len(ids), 2 * HEAD), dtype=np.float32)
    with current.get().phase("looking at the images", "inspect", len(ids)) as advance:
        for rows in parts(range(len(ids)), PART):
            decoded = []
            for row, (image, problems) in zip(rows, each(lambda row: _pixels(dataset, ids[row]), rows), strict=True):
                for problem in problems:
                    findings.problem(problem, "unreadable")
                decoded += [] if image is None else [(row, image)]
            pixels = (image for _, image in decoded)
            for (row, _), seen in zip(decoded, side_by_side(lambda image: _seen(network, image), pixels,
                                                            torch.device(device)), strict=True):
                found[row] = seen
            advance(len(rows))
    if findings.problems:
        raise DataError(*findings.problems)
    return found


def _pixels(dataset: Dataset, image_id: ImageId) -> np.ndarray:
    """(h, w, 3) uint8, the longer side `SIDE`."""
    image = dataset.images[image_id]
    scale = SIDE / max(image.width, image.height)
    width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
    return decode(dataset.path(image_id), width, height, dataset.white)


def _seen(network: Classifier, image: np.ndarray) -> np.ndarray:
    """(2560,) of one image (h, w, 3)."""
    with torch.inference_mode():
        pixels: Tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(network.classes.weight.device)
        normalised = (pixels.float() - PIXELS["mean"][0]) / PIXELS["std"][0]
        maps = network.maps(normalised.contiguous(memory_format=torch.channels_last))[0]
        return torch.cat([maps.mean(dim=(1, 2)), maps.amax(dim=(1, 2))]).cpu().numpy()
