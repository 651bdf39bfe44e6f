"""The detector, and how it is trained with labels and with fewer of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mgral.section import AtLeastOne, Batch, Fraction, Positive, Section, Side, Weight, fit_into_paths


class DetectorConfig(Section):
    preset: Literal["tiny", "lite0", "ssd300", "retinanet_r50", "faster_rcnn_r50"] = "tiny"
    """`tiny` learns in a minute on a CPU; `lite0` nearly so, from ImageNet's weights; the others are mmdet's own."""
    config: str | None = None
    """An mmdet config that replaces the preset: a path, or `mmdet::…` for one that mmdet ships. Such a file is Python
    and is executed, with whatever it imports, by `mgral check` too: use files that you trust."""
    weights: str | None = None
    """A checkpoint's path, of which tensors are read and nothing is executed, or `torchvision://…` or `open-mmlab://…`
    for the backbone; without it presets are trained from scratch."""
    frozen_stages: Annotated[int, Field(ge=-1, le=100)] | None = None
    """First stages of the backbone that do not learn, as mmdet counts: -1 none, 0 a ResNet's stem, 1 its first stage
    too. When absent as the config says, and none in a preset without weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of backbone and neck; heads, losses and boxes stay in float32. bfloat16 is for GPUs: a CPU is slower with it."""
    width: Annotated[float, Field(gt=0.0, le=1.0, multiple_of=0.125)] = 1.0
    """Channels of the preset as a share of the published ones, in eighths, for small machines and tests."""
    image_size: Side = 256
    """Longest side, in pixels, of the images that the detector sees; 300 for ssd300."""

    _paths = field_validator("*")(fit_into_paths)

    @model_validator(mode="after")
    def _width_is_the_presets(self) -> DetectorConfig:
        if self.width != 1.0 and self.config is not None:
            raise ValueError(f"expected width 1.0 with a config, got {self.width}; only presets can be narrowed")
        if self.width != 1.0 and self.preset == "lite0":
            raise ValueError(f"expected width 1.0 for lite0, whose weights are given, got {self.width}")
        return self


class TrainingConfig(Section):
    """Supervised training of a cycle's detector: AdamW with a one-cycle learning rate."""

    steps: AtLeastOne = 280
    """Updates of the weights."""
    batch_size: Batch = 16
    """Images a step."""
    lr: Positive = 5e-3
    """Largest learning rate."""
    views: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Random views of an image that supervised trainings and experiments draw from, the same in all of them; when
    absent each draw is a new one. What frozen stages (`lite0`) make of an image and its views is then computed once and
    kept on disk; semi-supervised methods go on drawing new views."""


MethodName = Literal["supervised", "mean_teacher", "stac", "soft_teacher", "isd", "sed"]


class SoftTeacherConfig(Section):
    """What the tables of Soft Teacher (Xu et al. 2021) vary; the defaults are the paper's best."""

    scheme: Literal["multi_stage", "end_to_end", "ema"] = "ema"
    """Table 5. The teacher: a trained detector that stays as it is, the student itself, or its running mean."""
    indicator: Literal["none", "iou", "reverse_iou", "prediction_difference", "student_background",
                       "teacher_background"] = "teacher_background"
    """Table 7 (and 6: `none` is without soft teacher). What tells how surely a place is background."""
    teacher_threshold: Fraction = 0.5
    """Least teacher score of a box to be considered at all."""
    foreground_threshold: Fraction = 0.9
    """Table 8. Least teacher score of a box to classify by."""
    box_variance: Weight | None = 0.02
    """Table 9. A box to locate by varies less; when absent, boxes to classify by do (Table 6, no box jittering)."""
    jitters: Annotated[int, Field(ge=2, le=1000)] = 10
    """Table 10. Starts from which a box is placed again to see how it varies."""

    @model_validator(mode="after")
    def _foreground_is_considered(self) -> SoftTeacherConfig:
        if self.foreground_threshold < self.teacher_threshold:
            raise ValueError(f"expected a foreground_threshold of at least teacher_threshold, got "
                             f"{self.foreground_threshold} < {self.teacher_threshold}")
        return self


THRESHOLDS = {"mean_teacher": 0.2, "stac": 0.9}
"""STAC's is the published tau; a detector that was not pretrained is seldom as sure of itself."""
WEIGHTS = {"mean_teacher": 1.0, "stac": 2.0, "soft_teacher": 4.0, "isd": 1.0, "sed": 1.0}
"""Published: STAC's lambda_u, Soft Teacher's alpha with few labels, ISD's (its reference code)."""


class SemisupConfig(Section):
    """One semi-supervised training: an experiment starts from the cycle's checkpoint, a comparison of methods from the
    detector's first weights."""

    method: MethodName = "mean_teacher"
    """What `mgral semisup` and the source `semisupervised` of an experiment train by."""
    steps: AtLeastOne = 25
    """Updates of the weights; the source `student` makes as many."""
    labelled_per_step: Batch = 8
    """Labelled images a step."""
    unlabelled_per_step: Batch = 8
    """Unlabelled images a step; a supervised training takes labelled ones instead."""
    lr: Positive = 5e-4
    """Largest learning rate."""
    ema_momentum: Fraction = 0.999
    """The ramp min(ema_momentum, 1 - 1/(t+1)) ends here (algorithm of Soft Teacher's reference code)."""
    threshold: Fraction | None = None
    """Least teacher score of a pseudo label of `mean_teacher` (when absent 0.2) and `stac` (0.9, as published);
    `soft_teacher` has two of its own, the other methods make no pseudo labels."""
    weight: Weight | None = None
    """Of the losses on unlabelled images; when absent the method's published value: `stac` 2, `soft_teacher` 4, `isd`
    1; `mean_teacher` 1 and `sed` 1 are ours. `supervised` has no such losses."""
    soft_teacher: SoftTeacherConfig = SoftTeacherConfig()

    @property
    def least_score(self) -> float | None:
        """`threshold`, or the method's own; None for a method without one."""
        own = THRESHOLDS.get(self.method)
        return own if own is None or self.threshold is None else self.threshold

    @property
    def unlabelled_weight(self) -> float | None:
        """`weight`, or the method's own; None for a method without losses on unlabelled images."""
        own = WEIGHTS.get(self.method)
        return own if own is None or self.weight is None else self.weight

    def used(self) -> dict[str, object]:
        """The settings that decide what a training of this method yields: those of other methods are left out."""
        values = self.model_dump(mode="json", exclude={} if self.method == "soft_teacher" else {"soft_teacher"})
        values |= {"threshold": self.least_score, "weight": self.unlabelled_weight}
        return {name: value for name, value in values.items() if value is not None}
