"""What a training step works on: random views of images, and what is to be found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mgral.data.augment import TRAIN, WHOLE, View, view
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import Detector, Target, moved, views_of


def targets_of(store: ImageStore, boxes: Mapping[ImageId, Boxes], ids: Sequence[ImageId],
               device: torch.device) -> dict[ImageId, Target]:
    """What is to be found in each image, prepared once.

    Raises:
        ValueError: an image that is not annotated.
    """
    missing = [image_id for image_id in ids if image_id not in boxes]
    if missing:
        raise ValueError(f"expected boxes for every training image, got none for {', '.join(missing[:5])}")
    return {image_id: Target.of(boxes[image_id], store.scale(image_id), device) for image_id in ids}


def training_view(store: ImageStore, targets: Mapping[ImageId, Target], batch: Sequence[ImageId], device: torch.device,
                  generator: torch.Generator, part: slice = WHOLE) -> tuple[View, list[Target]]:
    """A random view of labelled images, or of `part` of them, and their targets in it."""
    augmented = view(store.pixels(batch[part]).to(device), contents_of(store, batch), TRAIN, generator, part)
    return augmented, moved([targets[image_id] for image_id in batch[part]], augmented.matrices, store.canvas)


def given_view(detector: Detector, store: ImageStore, targets: Mapping[ImageId, Target], batch: Sequence[ImageId],
               generator: torch.Generator, part: slice = WHOLE) -> tuple[View, list[Target]]:
    """The same of one of the store's fixed views of each image, drawn at random, as the detector takes it."""
    drawn = torch.randint(store.views, (len(batch),), generator=generator)[part].tolist()
    seen = views_of(detector, store, batch[part], drawn)
    return seen, moved([targets[image_id] for image_id in batch[part]], seen.matrices, store.canvas)


def contents_of(store: ImageStore, ids: Sequence[ImageId]) -> Tensor:
    """(B, 2) heights and widths of the images in canvas pixels."""
    return torch.tensor([store.content(image_id) for image_id in ids])


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of named losses, which is what training lowers."""
    return torch.stack(list(losses.values())).sum()
