"""How a batch is chosen: the pool, the table of experiments and its search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mgral.section import AtLeastOne, Batch, Count, Few, Fraction, Positive, Section, Weight

Block = Literal["mean", "histogram", "uncertainty", "diversity"]


class TableConfig(Section):
    """The lookup table: which experiments are run beforehand, what is measured, how a batch is described."""

    shortlist: AtLeastOne | None = None
    """Images of the pool that table and search look at, chosen by clusters, novelty and chance; when absent all."""
    records: Annotated[int, Field(ge=4, le=10_000)] = 10
    """Batches that a cycle's experiments measure before the search."""
    design: Literal["random", "spread"] = "spread"
    """Which batches are measured."""
    source: Literal["semisupervised", "student", "anew"] = "student"
    """What an experiment trains: the cycle's detector with the batch as unlabelled images (the paper), a detector of
    half of the labels with the batch labelled by the cycle's detector, or the next cycle's detector, `anew`, from its
    first weights, with the batch labelled likewise."""
    pseudo_label: Fraction = 0.3
    """Least score of the detections that the sources `student` and `anew` take for labels."""
    reward: Literal["map", "ap50", "soft_ap", "loss", "balanced_loss"] = "balanced_loss"
    """What an experiment is worth; the losses count with a minus. All of them are always recorded."""
    measurements: Few = 1
    """Times that a training is measured, at equal distances, the last at its end; once for the source `anew`."""
    rungs: tuple[AtLeastOne, ...] = ()
    """After which of its measurements the less promising half of the trainings stops (successive halving)."""
    repeats: Count = 3
    """Batches that are measured once more with another seed, to tell what a reward varies by from run to run."""
    representation: tuple[Block, ...] = ("mean", "histogram", "uncertainty", "diversity")
    """How a batch is described to the estimator: `mean` embedding, `histogram` of expected classes, `uncertainty` of
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
        if self.source == "anew" and self.measurements > 1:
            raise ValueError(f"expected 1 of measurements for the source anew, got {self.measurements}")
        whole = self.records
        for _ in self.rungs:
            whole = -(-whole // 2)
        if self.rungs and whole < 3:
            raise ValueError("expected rungs that leave at least 3 whole trainings to judge the others by, got "
                             f"{whole} of {self.records} records; measure more, or stop less often")
        return self


class PoolConfig(Section):
    """The images that can be chosen, alike for every strategy, table and search."""

    near_duplicates: Literal["skip", "allow"] = "skip"
    """`skip` passes over images that look like a labelled one or like another one of the pool, as the detector's
    embedding sees them, while the budget allows."""


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
    """`auto` searches only a table that predicts its own records, and else takes the batch of `content`;
    `always` is the paper's: it searches any table."""
    check: bool = True
    """Measure the search's batch by one real experiment, say whether it agrees with the estimate, and take a record
    instead where one was measured to be worth more."""
    agent: AgentConfig = AgentConfig()
