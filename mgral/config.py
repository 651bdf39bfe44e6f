"""Every setting of a run: one frozen class a section of params.yaml, which `mgral.params` reads.

Library functions take their own section (or plain values), never the whole `Config`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SyntheticConfig(Section):
    """The scenes that `mgral.data.synthetic` draws when `data.format` is `synthetic`."""

    pool: AtLeastOne = 600
    reward: AtLeastOne = 120
    test: AtLeastOne = 300
    image_size: Annotated[int, Field(ge=32)] = 64
    duplicates: Fraction = 0.35
    """Share of the pool that are near-copies of another pool image."""
    empty: Fraction = 0.15
    """Share of the pool with no object at all."""
    spoiled: Fraction = 0.1
    """Share of the pool that is dark, blurred or noisy."""


class DataConfig(Section):
    format: Literal["synthetic", "coco", "voc", "yolo"] = "synthetic"
    root: str | None = None
    """Folder of the data set; the command line's --data takes precedence. Not used by `synthetic`."""
    pool: str = "train"
    """The source's own split from which labelled and unlabelled images are drawn."""
    reward: str | Fraction = "reward"
    """The source's split on which rewards are measured, or the share of `pool` to set aside for it."""
    test: str | Fraction = "test"
    """The source's split on which results are reported, or the share of `pool` to set aside for it."""
    labelled: AtLeastOne = 60
    """Images labelled before the first cycle, drawn at random once."""
    classes: tuple[str, ...] | None = None
    """The classes to detect, in order; taken from the data set when absent. A class outside the list is a fault."""
    invalid_boxes: Literal["error", "repair"] = "error"
    """`repair` clips boxes to the image and drops those of no area, saying which; `error` refuses the data set."""
    synthetic: SyntheticConfig = SyntheticConfig()


class DetectorConfig(Section):
    preset: Literal["tiny", "ssd300", "retinanet_r50", "faster_rcnn_r50"] = "tiny"
    config: str | None = None
    """An mmdet config that replaces the preset: a path, or `mmdet::…` for one that mmdet ships."""
    weights: str | None = None
    """A checkpoint's path, or `torchvision://…` or `open-mmlab://…` for the backbone; without it presets are trained
    from scratch."""
    frozen_stages: Annotated[int, Field(ge=-1)] | None = None
    """First stages of the backbone that do not learn, as mmdet counts: -1 none, 0 a ResNet's stem, 1 its first stage
    too. When absent as the config says, and none in a preset without weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of backbone and neck; heads, losses and boxes stay in float32. bfloat16 is for GPUs: a CPU is slower with it."""
    width: Annotated[float, Field(gt=0.0, le=1.0, multiple_of=0.125)] = 1.0
    """Channels of the preset as a share of the published ones, in eighths, for small machines and tests."""
    image_size: Annotated[int, Field(ge=32)] = 256
    """Longest side, in pixels, of the images that the detector sees; 300 for ssd300."""

    @model_validator(mode="after")
    def _width_is_the_presets(self) -> DetectorConfig:
        if self.width != 1.0 and self.config is not None:
            raise ValueError(f"expected width 1.0 with a config, got {self.width}; only presets can be narrowed")
        return self


class TrainingConfig(Section):
    """Supervised training of a cycle's detector: AdamW with a one-cycle learning rate."""

    steps: AtLeastOne = 300
    batch_size: AtLeastOne = 8
    lr: Positive = 3e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    clip_norm: Positive = 10.0
    checkpoint_every: AtLeastOne = 100


Weight = Annotated[float, Field(ge=0.0)]


MethodName = Literal["supervised", "mean_teacher", "stac", "soft_teacher", "isd", "sed"]


class MeanTeacherConfig(Section):
    threshold: Fraction = 0.2
    """Least teacher score of a pseudo label."""
    weight: Weight = 1.0
    """Of the losses on unlabelled images."""


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
    jitters: Annotated[int, Field(ge=2)] = 10
    """Table 10. Starts from which a box is placed again to see how it varies."""
    jitter_scale: Weight = 0.06
    """Deviation of the jittered corners, in sides of the box."""
    weight: Weight = 4.0
    """Of the losses on unlabelled images (alpha of equation 1)."""

    @model_validator(mode="after")
    def _foreground_is_considered(self) -> SoftTeacherConfig:
        if self.foreground_threshold < self.teacher_threshold:
            raise ValueError(f"expected a foreground_threshold of at least teacher_threshold, got "
                             f"{self.foreground_threshold} < {self.teacher_threshold}")
        return self


class StacConfig(Section):
    threshold: Fraction = 0.9
    """Least teacher score of a pseudo label (tau)."""
    weight: Weight = 2.0
    """Of the losses on unlabelled images (lambda_u)."""


class IsdConfig(Section):
    """The published values; the ramp's ends are 32k and 100k of its 120k iterations."""

    weight: Weight = 1.0
    """Of all consistency losses, at the top of the ramp."""
    type1_weight: Weight = 0.1
    """Of the places where both mixed images show an object."""
    beta: Positive = 100.0
    """Images are mixed by a share drawn from Beta(beta, beta)."""
    ramp_up: Fraction = 32 / 120
    """Share of the steps after which the weight is full."""
    ramp_down: Fraction = 100 / 120
    """Share of the steps after which it falls again."""


class SedConfig(Section):
    """No published values: on small scenes heavier weights cost a short training accuracy."""

    weight: Weight = 0.3
    """Of the self-distillation, at the top of the ramp."""
    scale_weight: Weight = 0.1
    """Of the consistency with the half-size image, at the top of the ramp."""
    gamma: Weight = 0.5
    """A place weighs (largest difference between teacher's and student's class probability) ** gamma."""
    foreground: Fraction = 0.2
    """Least teacher score of a place whose box is compared."""
    ramp_up: Fraction = 0.2
    """Share of the steps after which the weights are full."""


class SemisupConfig(Section):
    """One semi-supervised training: an experiment starts from the cycle's checkpoint, a comparison of methods from the
    detector's first weights. The section named as the method holds what only that method knows."""

    method: MethodName = "mean_teacher"
    steps: AtLeastOne = 30
    labelled_per_step: AtLeastOne = 8
    unlabelled_per_step: AtLeastOne = 8
    lr: Positive = 5e-4
    weight_decay: Weight = 0.05
    clip_norm: Positive = 10.0
    ema_momentum: Fraction = 0.999
    """The ramp min(ema_momentum, 1 - 1/(t+1)) ends here (algorithm of Soft Teacher's reference code)."""
    checkpoint_every: AtLeastOne = 500
    mean_teacher: MeanTeacherConfig = MeanTeacherConfig()
    soft_teacher: SoftTeacherConfig = SoftTeacherConfig()
    stac: StacConfig = StacConfig()
    isd: IsdConfig = IsdConfig()
    sed: SedConfig = SedConfig()

    def used(self) -> dict[str, object]:
        """The settings that decide what a training of this method yields: those of other methods are left out."""
        values = self.model_dump(mode="json")
        sections = {name for name, value in values.items() if isinstance(value, dict)}
        return {name: value for name, value in values.items() if name not in sections - {self.method}}


Block = Literal["mean", "spread", "histogram", "uncertainty", "diversity"]
RELATIVE = ("histogram", "uncertainty", "diversity")
"""Blocks that mean the same whichever detector looked."""


class TableConfig(Section):
    """The lookup table: which experiments are run beforehand, what is measured, how a batch is described."""

    shortlist: AtLeastOne | None = None
    """Images of the pool that table and search look at, chosen by clusters, novelty and chance; when absent all."""
    records: Annotated[int, Field(ge=4)] = 12
    design: Literal["random", "spread", "sequential"] = "spread"
    """Which batches are measured; `sequential` spreads half of them, then goes where the estimator is least sure or
    most hopeful."""
    source: Literal["semisupervised", "student", "labelled"] = "student"
    """What an experiment trains: the cycle's detector with the batch as unlabelled images (the paper); a detector of
    half of the labels with the batch labelled by the cycle's detector; or that detector with batches of the other half,
    played as a pool, and their own labels."""
    pseudo_label: Fraction = 0.3
    """Least score of the detections that the source `student` takes for labels."""
    reward: Literal["map", "ap50", "soft_ap", "loss", "balanced_loss"] = "balanced_loss"
    """What an experiment is worth; the losses count with a minus. All of them are always recorded."""
    measurements: AtLeastOne = 1
    """Times that a training is measured, at equal distances, the last at its end."""
    average: AtLeastOne = 1
    """Last measurements whose mean is the reward."""
    rungs: tuple[AtLeastOne, ...] = ()
    """After which of its measurements the less promising half of the trainings stops (successive halving)."""
    repeats: Count = 3
    """Batches that are measured once more with another seed, to tell what a reward varies by from run to run."""
    history: bool = False
    """Also learn from the records of earlier cycles, where that foretells this cycle's records better."""
    representation: tuple[Block, ...] = ("mean", "histogram", "uncertainty", "diversity")
    whitening: Literal["columns", "blocks"] = "columns"
    """Over random batches: `columns` makes them vary alike; `blocks` also decorrelates them, block by block, so that
    what several columns say alike does not count several times in a distance."""
    estimator: Literal["inverse_distance", "ridge", "gp", "ensemble"] = "gp"
    """`inverse_distance` is the paper's; `gp` a Gaussian process; `ensemble` networks that see the batch's images."""
    members: Annotated[int, Field(ge=2)] = 8
    """Networks of the ensemble."""
    metric: Literal["l2", "cosine"] = "l2"
    neighbours: AtLeastOne = 5
    fallback_cap: Count = 2
    """Most real experiments that a cycle's search may ask for."""
    at_once: AtLeastOne | Literal["auto"] = "auto"
    """Experiments at the same time, each in a process of its own; `auto` takes what cores and memory allow."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> TableConfig:
        if self.average > self.measurements:
            raise ValueError(f"expected an average of at most {self.measurements} measurements, got {self.average}")
        if list(self.rungs) != sorted({*self.rungs}) or any(one >= self.measurements for one in self.rungs):
            raise ValueError(f"expected rungs that rise and lie before the last of {self.measurements} measurements, "
                             f"got {list(self.rungs)}")
        whole = self.records if self.design != "sequential" else -(-self.records // 2)
        for _ in self.rungs:
            whole = -(-whole // 2)
        if self.rungs and whole < 3:
            raise ValueError("expected rungs that leave at least 3 whole trainings to judge the others by, got "
                             f"{whole} of {self.records} records; measure more, or stop less often")
        if self.source == "labelled":
            if self.history:
                raise ValueError("expected no history with the source labelled, got true: each cycle plays another "
                                 "part of the labels")
            if self.fallback_cap:
                raise ValueError(f"expected a fallback_cap of 0 with the source labelled, got {self.fallback_cap}: "
                                 "nobody knows the true labels of the batches that a search draws")
            if self.estimator == "ensemble":
                raise ValueError("expected another estimator with the source labelled, got ensemble: it looks at "
                                 "images, and those of the played pool are others")
            if not set(self.representation) <= {*RELATIVE}:
                raise ValueError(f"expected a representation of {', '.join(RELATIVE)} with the source labelled, got "
                                 f"{', '.join(self.representation)}: embeddings of two detectors cannot be compared")
        return self


class SearchConfig(Section):
    """The agent and its policy-gradient search."""

    iterations: AtLeastOne = 60
    batches_per_iteration: AtLeastOne = 32
    """Batches sampled from one pass of the agent; the pass is what costs time."""
    lr: Positive = 3e-3
    """The paper's 3.5e-4 is made for thousands of iterations."""
    baseline: Literal["paper", "ema", "rloo"] = "rloo"
    baseline_decay: Fraction = 0.5
    caution: Annotated[float, Field(ge=0.0)] = 3.0
    """The search maximises estimate - caution × its standard deviation; the paper's has no caution. The largest of
    thousands of estimates owes its place to error by some three deviations."""
    trust: Literal["auto", "always"] = "auto"
    """`auto` searches only a table that foretells its own records, and else takes the batch of `balanced_entropy`;
    `always` is the paper's: it searches any table."""
    controls: bool = True
    """Let simpler searches try the same estimator with as many queries, and report what they reach."""
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.25
    """Of the entropy of the first draw, times √budget and the size of the advantages, as the gradient of a batch grows:
    keeps the agent from settling early. The paper has none."""
    clip_norm: Positive = 1.0
    pool_order: Literal["id", "shuffled", "similarity"] = "shuffled"
    """In which order the recurrent agent reads the pool; `similarity` walks from neighbour to neighbour."""
    segments: AtLeastOne = 1
    """The pool is cut into so many sequences that are read side by side; 1 reads it as one, as the paper does."""
    decoder: Literal["shared", "per_image"] = "shared"
    """`per_image` is the paper's Ψ_i to the letter: weights for every image, read cell by cell, ten times slower."""
    bidirectional: bool = False
    """Add the scores of a second recurrence, which reads from the end."""
    patience: AtLeastOne | None = None
    """Stop when the mean estimate of an iteration has not risen for so many iterations."""
    final_caution: Annotated[float, Field(ge=0.0)] | None = None
    """The caution by which the last choice among the batches found is made; that of the search when absent."""
    polish: Count = 0
    """Batches valued by a greedy swap search that starts from the best batch of the agent."""
    check: bool = False
    """Measure the search's batch by one real experiment, say whether it agrees with the estimate, and take a record
    instead where one was measured to be worth more."""
    checkpoint_every: AtLeastOne = 20

    @model_validator(mode="after")
    def _others_to_compare_with(self) -> SearchConfig:
        if self.baseline == "rloo" and self.batches_per_iteration < 2:
            raise ValueError("expected at least 2 batches_per_iteration for the leave-one-out baseline, got 1")
        return self


StrategyName = Literal["mgral", "random", "balanced_entropy", "rare_first"]


class StudyConfig(Section):
    """Cycles, budget and what to compare with."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "demo"
    strategy: StrategyName = "mgral"
    baselines: tuple[StrategyName, ...] = ("random",)
    cycles: AtLeastOne = 3
    budget: AtLeastOne = 40
    """Images annotated in each cycle."""
    oracle: Literal["simulated"] = "simulated"
    true_gains: Count = 0
    """Batches of each cycle whose true gain on the test split is measured, to set it beside the table's estimates; only
    a simulated oracle knows it, and nothing is chosen by it."""

    @model_validator(mode="after")
    def _strategies_differ(self) -> StudyConfig:
        names = (self.strategy, *self.baselines)
        if len(set(names)) < len(names):
            raise ValueError(f"expected each strategy once, got {', '.join(names)}")
        return self


class SemisupStudyConfig(Section):
    """Semi-supervised methods against each other: the "partially labelled data" protocol of Soft Teacher's Table 2."""

    methods: tuple[MethodName, ...] = ("supervised", "mean_teacher")
    fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.1,)
    """Shares of the training images that are labelled."""
    folds: AtLeastOne = 5
    """Draws of the labelled images, each with its own seed for the detector."""

    @model_validator(mode="after")
    def _each_once(self) -> SemisupStudyConfig:
        for name in ("methods", "fractions"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"expected each of the {name} once and at least one, got {list(values)}")
        return self


class Config(Section):
    seed: Count = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataConfig = DataConfig()
    detector: DetectorConfig = DetectorConfig()
    training: TrainingConfig = TrainingConfig()
    semisup: SemisupConfig = SemisupConfig()
    table: TableConfig = TableConfig()
    search: SearchConfig = SearchConfig()
    study: StudyConfig = StudyConfig()
    semisup_study: SemisupStudyConfig = SemisupStudyConfig()

    @model_validator(mode="after")
    def _shortlist_holds_a_batch(self) -> Config:
        if self.table.shortlist is not None and self.table.shortlist < self.study.budget:
            raise ValueError(f"expected a table.shortlist of at least study.budget, {self.study.budget} images, got "
                             f"{self.table.shortlist}; raise it or leave it out")
        return self

    @model_validator(mode="after")
    def _check_can_be_measured(self) -> Config:
        if self.search.check and self.table.source == "labelled":
            raise ValueError("expected search.check false with the source labelled, got true: nobody knows the true "
                             "labels of the batch that a search chooses")
        return self
