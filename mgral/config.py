"""Every setting of a run: one frozen class a section of params.yaml, which `mgral.params` reads.

Library functions take their own section (or plain values), never the whole `Config`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mgral.section import (
    FOLDERS_TAKEN,
    STRATEGY_NAME,
    AtLeastOne,
    Batch,
    Count,
    Few,
    Fraction,
    Positive,
    Scenes,
    Section,
    Side,
    Weight,
    alone_or_several,
    fit_into_paths,
    fits_into_path,
    folder_name,
    pairs,
)


class SyntheticConfig(Section):
    """The scenes that `mgral.data.synthetic` draws when `data.format` is `synthetic`."""

    pool: Scenes = 600
    """Scenes to draw labelled images from and to choose from."""
    reward: Scenes = 100
    """Scenes to measure rewards on."""
    test: Scenes = 300
    """Scenes to report on."""
    image_size: Side = 64
    """Side of a scene, in pixels."""
    duplicates: Fraction = 0.35
    """Share of the pool that are near-copies of another pool image."""
    empty: Fraction = 0.15
    """Share of the pool with no object at all."""
    spoiled: Fraction = 0.1
    """Share of the pool that is dark, blurred or noisy."""


class DataConfig(Section):
    format: Literal["auto", "coco", "voc", "yolo", "cvat", "label_studio", "images", "synthetic"] = "auto"
    """The layout of the data set's files; `auto` looks and says what it found, `images` is a folder without labels,
    `synthetic` draws scenes and needs no files."""
    root: str | None = None
    """Folder of the data set; the command line's --data takes precedence. Not used by `synthetic`."""
    images: str | None = None
    """Folder below `root` whose images belong to the set, all of them; when absent they are found."""
    annotations: Annotated[tuple[str, ...] | None, BeforeValidator(alone_or_several)] = None
    """Annotation files, or folders of them, below `root` or by absolute path; when absent they are found."""
    splits: Annotated[tuple[tuple[str, str], ...] | None, BeforeValidator(pairs)] = None
    """Splits by name: each a folder, a list of image names or an annotation file below `root`, such as
    `{train: lists/train.txt, test: part2}`; when absent they are told by the names train, valid, val and test."""
    pool: str | None = None
    """The split from which labelled images and the pool come; when absent all images but those of the next two."""
    reward: str | Fraction | None = None
    """The split on which rewards are measured, or the share of the labelled images to set aside for it; when absent the
    split called val or valid, else a fifth."""
    test: str | Fraction | None = None
    """The split on which results are reported, or the share of the labelled images to set aside for it; when absent the
    split called test, else a fifth."""
    labelled: AtLeastOne | None = None
    """For simulations: so many images are labelled before the first cycle, drawn at random once; mgral plays the
    annotator with the labels of the others. When absent all images are labelled that are annotated, or listed."""
    labelled_list: str | None = None
    """A file below `root` that lists the images, a path a line, that are labelled before the first cycle."""
    without_boxes: Literal["empty", "unlabelled"] | None = None
    """What an image is that a COCO or CVAT file lists without a box, for these formats cannot say: `empty` (somebody
    looked, nothing is there) or `unlabelled`. When absent `empty`, and asked for where it is more than half of them."""
    orientation: Literal["auto", "upright", "stored"] = "auto"
    """What boxes were drawn on where EXIF turns a picture and its annotated size is the one before: the picture as one
    sees it (`upright`) or the pixels as they are `stored`; `auto` lets the boxes decide. `stored` also holds where no
    size is said, as in YOLO."""
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(alone_or_several)] = None
    """The classes to detect, in order; taken from the data set when absent. A class outside the list is a fault."""
    invalid_boxes: Literal["error", "repair"] = "error"
    """`repair` clips boxes to the image and drops those of no area, saying which; `error` refuses the data set."""
    max_pixels: AtLeastOne = 178_000_000
    """Most pixels of an image; larger ones are refused before they fill the memory (4 bytes a pixel)."""
    image_range: AtLeastOne | None = None
    """Brightest value of 16-bit images, which becomes white; when absent told from all of them: 65535, or, where they
    use less than an eighth of that, the next of 255, 511, … 8191."""
    synthetic: SyntheticConfig = SyntheticConfig()

    _paths = field_validator("*")(fit_into_paths)


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


Block = Literal["mean", "histogram", "uncertainty", "diversity"]


class TableConfig(Section):
    """The lookup table: which experiments are run beforehand, what is measured, how a batch is described."""

    shortlist: AtLeastOne | None = None
    """Images of the pool that table and search look at, chosen by clusters, novelty and chance; when absent all."""
    records: Annotated[int, Field(ge=4, le=10_000)] = 10
    """Batches that a cycle's experiments measure before the search."""
    design: Literal["random", "spread"] = "spread"
    """Which batches are measured."""
    source: Literal["semisupervised", "student"] = "student"
    """What an experiment trains: the cycle's detector with the batch as unlabelled images (the paper), or a detector of
    half of the labels with the batch labelled by the cycle's detector."""
    pseudo_label: Fraction = 0.3
    """Least score of the detections that the source `student` takes for labels."""
    reward: Literal["map", "ap50", "soft_ap", "loss", "balanced_loss"] = "balanced_loss"
    """What an experiment is worth; the losses count with a minus. All of them are always recorded."""
    measurements: Few = 1
    """Times that a training is measured, at equal distances, the last at its end."""
    rungs: tuple[AtLeastOne, ...] = ()
    """After which of its measurements the less promising half of the trainings stops (successive halving)."""
    repeats: Count = 3
    """Batches that are measured once more with another seed, to tell what a reward varies by from run to run."""
    representation: tuple[Block, ...] = ("mean", "histogram", "uncertainty", "diversity")
    """How a batch is described to the estimator: `mean` embedding, `histogram` of predicted classes, `uncertainty` of
    the detector, `diversity` of the images."""
    estimator: Literal["inverse_distance", "ridge", "gp", "ensemble"] = "gp"
    """`inverse_distance` is the paper's; `gp` a Gaussian process; `ensemble` networks that see the batch's images."""
    metric: Literal["l2", "cosine"] = "l2"
    """How descriptions of batches are apart, for `inverse_distance` and the fall-back."""
    neighbours: AtLeastOne = 5
    """Records that `inverse_distance` looks at."""
    fallback_cap: Count = 2
    """Most real experiments that a cycle's search may ask for."""
    at_once: Few | Literal["auto"] = "auto"
    """Experiments at the same time, each in a process of its own; `auto` takes what cores and memory allow."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> TableConfig:
        if list(self.rungs) != sorted({*self.rungs}) or any(rung >= self.measurements for rung in self.rungs):
            raise ValueError(f"expected rungs that rise and lie before the last of {self.measurements} measurements, "
                             f"got {list(self.rungs)}")
        whole = self.records
        for _ in self.rungs:
            whole = -(-whole // 2)
        if self.rungs and whole < 3:
            raise ValueError("expected rungs that leave at least 3 whole trainings to judge the others by, got "
                             f"{whole} of {self.records} records; measure more, or stop less often")
        return self


class AgentConfig(Section):
    """The agent that is trained to find the batch."""

    batches_per_iteration: Batch = 32
    """Batches sampled from one pass of the agent; the pass is what costs time."""
    lr: Positive = 3e-3
    """The paper's 3.5e-4 is made for thousands of iterations."""
    baseline: Literal["paper", "ema", "rloo"] = "rloo"
    """What a reward is compared with: `rloo` the mean of the iteration's other batches, `ema` a moving average, `paper`
    equation (3) as printed."""
    baseline_decay: Fraction = 0.5
    """λ of the moving averages."""
    entropy_weight: Weight = 0.25
    """Of the entropy of the first draw, times √budget and the size of the advantages, as the gradient of a batch grows:
    keeps the agent from settling early. The paper has none."""
    decoder: Literal["shared", "per_image"] = "shared"
    """`per_image` is the paper's Ψ_i to the letter: weights for every image, read cell by cell, ten times slower."""

    @model_validator(mode="after")
    def _others_to_compare_with(self) -> AgentConfig:
        if self.baseline == "rloo" and self.batches_per_iteration < 2:
            raise ValueError("expected at least 2 batches_per_iteration for the leave-one-out baseline, got 1")
        return self


class SearchConfig(Section):
    """The search of a table for the batch of highest value, and what happens before and after it."""

    iterations: AtLeastOne = 60
    """Passes of the agent over the pool."""
    risk_aversion: Weight = 3.0
    """The search maximises estimate - risk_aversion × its standard deviation; the paper's has none. The largest of
    thousands of estimates owes its place to error by some three deviations."""
    trust: Literal["auto", "always"] = "auto"
    """`auto` searches only a table that predicts its own records, and else takes the batch of `balanced_entropy`;
    `always` is the paper's: it searches any table."""
    check: bool = True
    """Measure the search's batch by one real experiment, say whether it agrees with the estimate, and take a record
    instead where one was measured to be worth more."""
    agent: AgentConfig = AgentConfig()


class StudyConfig(Section):
    """Which strategies are compared, on which seeds, for how many cycles."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "demo"
    """Name of its folder under runs/ and of its MLflow experiment."""
    strategies: Annotated[tuple[str, ...], BeforeValidator(alone_or_several)] = ("mgral", "random")
    """Names of strategies, or files FILE.py that hold one; the first is compared with the others."""
    seeds: tuple[Count, ...] = (0,)
    """Each draws splits (and scenes) of its own and trains its own detectors."""
    training: MethodName = "supervised"
    """What trains the detector of a cycle."""
    cycles: Few = 3
    """Times that images are chosen; one more detector is trained after the last."""
    budget: AtLeastOne = 40
    """Images annotated in each cycle."""
    budget_boxes: AtLeastOne | None = None
    """Boxes to draw in each cycle, as many as the detector expects: of the batch the best images that fit are taken."""
    true_gains: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Batches of each cycle whose true gain on the test split is measured, to set it beside the table's estimates; only
    a simulated oracle knows it, and nothing is chosen by it."""

    @model_validator(mode="after")
    def _each_once(self) -> StudyConfig:
        names = [folder_name(strategy) for strategy in self.strategies]
        for kind, values in (("strategies", names), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"expected each of the {kind} once and at least one, got {list(values)}")
        wrong = [name[:120] for path, name in zip(self.strategies, names, strict=True) if name in FOLDERS_TAKEN
                 or not fits_into_path(path) or not re.fullmatch(STRATEGY_NAME, name)]
        if wrong:
            raise ValueError(f"expected names of strategies of at most 100 letters, digits, _ and -, other than "
                             f"{', '.join(FOLDERS_TAKEN)}, got {', '.join(map(repr, wrong[:10]))}")
        return self


class SemisupStudyConfig(Section):
    """Semi-supervised methods against each other: the "partially labelled data" protocol of Soft Teacher's Table 2."""

    methods: tuple[MethodName, ...] = ("supervised", "mean_teacher")
    """Methods to compare, the baseline among them."""
    fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.1,)
    """Shares of the training images that are labelled."""
    folds: Few = 5
    """Draws of the labelled images, each with its own seed for the detector."""

    @model_validator(mode="after")
    def _each_once(self) -> SemisupStudyConfig:
        for name in ("methods", "fractions"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"expected each of the {name} once and at least one, got {list(values)}")
        return self


class ServicesConfig(Section):
    """Where MLflow and the table of experiments are; without an address SQLite files under the working directory. The
    environment variable MLFLOW_TRACKING_URI takes precedence. PREFECT_API_URL or prefect.toml says where Prefect is."""

    mlflow_tracking_uri: str | None = None
    """A server's address, or a database's as SQLAlchemy writes it."""
    table_url: str | None = None
    """A database's address as SQLAlchemy writes it: postgresql+psycopg://user@host/database."""


class Config(Section):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where trainings and searches run; `auto` is a GPU where there is one."""
    data: DataConfig = DataConfig()
    detector: DetectorConfig = DetectorConfig()
    training: TrainingConfig = TrainingConfig()
    semisup: SemisupConfig = SemisupConfig()
    table: TableConfig = TableConfig()
    search: SearchConfig = SearchConfig()
    study: StudyConfig = StudyConfig()
    semisup_study: SemisupStudyConfig = SemisupStudyConfig()
    services: ServicesConfig = ServicesConfig()

    @model_validator(mode="after")
    def _shortlist_holds_a_batch(self) -> Config:
        if self.table.shortlist is not None and self.table.shortlist < self.study.budget:
            raise ValueError(f"expected a table.shortlist of at least study.budget, {self.study.budget} images, got "
                             f"{self.table.shortlist}; raise it or leave it out")
        return self
