"""STAC (Sohn et al. 2020): a trained detector labels each image once, another learns from it in strong views."""

from __future__ import annotations

from typing import final

from mgral.data.augment import STRONGEST, view
from mgral.data.dataset import ImageId
from mgral.detection import Detector, Losses, Target, evaluating, moved
from mgral.training.inputs import contents_of
from mgral.training.method import Draw, Method, sure_boxes, weighted


@final
class Stac(Method):
    """Static pseudo boxes of high score in the image as it is; yields the student, as published."""

    summary = "a trained detector's boxes, found once in the plain image, as truth in strong views"
    staged = True

    def __init__(self, student, teacher, store, truth, config) -> None:
        super().__init__(student, teacher, store, truth, config)
        self._labels: dict[ImageId, Target] = {}

    def losses(self, draw: Draw) -> Losses:
        labelled, truth = self.sure(draw)
        pixels, contents = self.store.pixels(draw.unlabelled), contents_of(self.store, draw.unlabelled)
        strong = view(pixels.to(self.student.device), contents, STRONGEST, draw.generator)
        pseudo = moved([self.labels(image_id) for image_id in draw.unlabelled], strong.matrices, self.store.canvas)
        known, unknown = self.features(labelled, strong)
        head, canvas = self.student.head, self.store.canvas
        return weighted(head.losses(known, truth, canvas), 1.0, "labelled") | weighted(
            head.losses(unknown, pseudo, canvas), self.config.unlabelled_weight, "unlabelled")

    def labels(self, image_id: ImageId) -> Target:
        """What the teacher was sure of in the image itself, found when first asked for.

        Each image has a pass of its own: so labels do not depend, not even in the last bit, on which images were drawn
        together, and a training that goes on from its checkpoint finds the same ones.
        """
        if image_id not in self._labels:
            with evaluating(self.teacher):
                detections = self.teacher.predict(self.store.pixels([image_id]), [self.store.content(image_id)])
            self._labels[image_id] = sure_boxes(detections[0], self.config.least_score)
        return self._labels[image_id]

    def after(self, step: int) -> None:
        """The teacher stays as it was trained."""

    @property
    def result(self) -> Detector:
        return self.student
