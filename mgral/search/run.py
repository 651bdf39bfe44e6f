"""The run around a search: from the last checkpoint, with its controls beside it and a check behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from mgral.data.dataset import Batch
from mgral.files import read_json, write_json, writing
from mgral.fingerprint import fingerprint
from mgral.lookup.aggregation import AggregatedRewards, aggregate
from mgral.lookup.reward import TableReward
from mgral.progress import current
from mgral.search.agent import Agent, Iteration
from mgral.search.controls import compare
from mgral.search.optimiser import Candidate
from mgral.strategies.strategy import PoolView

CHECKPOINT_EVERY = 10
"""Iterations between two checkpoints."""
RECORD = "record, after the check"
"""Origin of a batch that took the place of the search's."""


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The batch that a search ends with; `origin` says how it was found.

    `value` is what the table thinks the search's batch is worth (estimate - risk_aversion × deviation), `controls` the
    same of what simpler searches chose; `checked` is what a real experiment says of it, None where `search.check` is
    off. `value`, `estimate`, `deviation` and `checked` are the search's batch's, also where a record was taken after
    the check.
    """

    ids: Batch
    origin: str
    value: float
    estimate: float
    deviation: float
    checked: float | None
    controls: Mapping[str, Candidate]
    fallbacks: int
    iterations: tuple[Iteration, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""


def run_search(view: PoolView, budget: int, heuristic: Candidate) -> SearchOutcome:
    """Searches the table that was fitted, from the last checkpoint if there is one; a finished search is used again.

    The batch of the `heuristic` is one of its controls, under the name of its origin.
    """
    setup, summary = view.setup, view.fitted.summary
    name = fingerprint("search", summary.scope, summary.fingerprints, setup.config, setup.search, budget,
                       setup.provenance.seed)
    receipt = setup.cache / "searches" / f"{name[:32]}.json"
    if receipt.exists():
        current.get().skip("search", setup.search.iterations)
        current.get().skip("experiment", int(setup.search.check))
        return _read(receipt)
    outcome = _Search(view, budget, receipt.with_suffix(".pt")).run(heuristic)
    write_json(receipt, asdict(outcome))
    return outcome


class _Search:
    """A search that is under way; `interim` is its checkpoint."""

    def __init__(self, view: PoolView, budget: int, interim: Path) -> None:
        setup, fitted = view.setup, view.fitted
        self.begun, self.setup, self.runner, self.interim = time.monotonic(), setup, fitted.runner, interim
        self.pool, self.records, self.reward = fitted.pool, fitted.records, setup.config.reward
        before = {"spent": 0.0, "iterations": []}
        if interim.exists():
            before = torch.load(interim, map_location="cpu", weights_only=True)
        self.spent, cap = before["spent"], setup.config.fallback_cap
        self.iterations = [Iteration(**values) for values in before["iterations"]]
        self.objective = TableReward(
            fitted.represent, fitted.estimator, lambda batch: self._experiment(batch, "fallback"), cap,
            interval=max(1, setup.search.iterations // (cap + 1)), risk_aversion=setup.search.risk_aversion,
            state=before.get("reward"))
        agent = Agent(view.inspection.of(self.pool).embedding, setup.search.agent, setup.detectors.device)
        self.search = agent.search(self.objective, self.pool, budget, setup.seed("search", len(setup.labelled)),
                                   before.get("search"))

    def run(self, heuristic: Candidate) -> SearchOutcome:
        """Ends the search, sets its controls beside it, and checks its batch where that is asked for."""
        self._iterate()
        choice = self.search.candidates()[0]
        spent, begun = {"search": self.spent + time.monotonic() - self.begun}, time.monotonic()
        measured = [record.image_ids for record in self.records]
        controls = compare(self.objective.estimate, self.pool, heuristic, measured, self.search.queries,
                           self.setup.seed("controls", self.setup.provenance.cycle))
        spent["controls"] = time.monotonic() - begun
        # The estimate even where the batch was measured: agent and controls are judged alike.
        predicted, value = self.objective.predict([choice.ids]), float(self.objective.estimate([choice.ids])[0])
        outcome = SearchOutcome(
            choice.ids, choice.origin, value, float(predicted.value[0]), float(predicted.deviation[0]),
            self._checked(choice.ids), controls, len(self.objective.fallbacks), tuple(self.iterations),
            spent, str(self.objective))
        aggregated = aggregate(self.records, self.reward)
        return outcome if outcome.checked is None else after_check(outcome, aggregated, self.objective.fallbacks)

    def _iterate(self) -> None:
        """Does what is left of the search and saves now and then."""
        progress, total = current.get(), self.setup.search.iterations
        progress.skip("search", self.search.iteration)
        with progress.phase("searching", "search", total - self.search.iteration) as advance:
            for iteration in self.search.until(total):
                self.iterations.append(iteration)
                advance(1)
                if iteration.iteration % CHECKPOINT_EVERY == 0:
                    self._save()

    def _save(self) -> None:
        spent = self.spent + time.monotonic() - self.begun
        with writing(self.interim) as temporary:
            torch.save({"search": self.search.state(), "reward": self.objective.state(), "spent": spent,
                        "iterations": [asdict(iteration) for iteration in self.iterations]}, temporary)

    def _checked(self, batch: Batch) -> float | None:
        """What a real experiment says of the batch; it joins the table of experiments as a check."""
        if not self.setup.search.check:
            return None
        with current.get().phase("checking", "experiment", 1) as advance:
            value = self._experiment(batch, "check")
            advance(1)
        return value

    def _experiment(self, batch: Batch, origin: str) -> float:
        return self.runner.measure(batch, origin).reward(self.reward)


def after_check(outcome: SearchOutcome, aggregated: AggregatedRewards,
                fallbacks: Sequence[tuple[Batch, float]]) -> SearchOutcome:
    """The batch that was checked, or the best of all records where that was measured to be worth more.

    A search finds the places where the estimator is too hopeful; measurements are alike for both. Fall-backs are
    records by now; repeats of a batch count with their mean.
    """
    count = np.bincount(aggregated.groups)
    means = np.bincount(aggregated.groups, aggregated.rewards) / count
    worth = dict(zip(aggregated.batches, means[aggregated.groups].tolist(), strict=True)) | dict(fallbacks)
    best = max(worth, key=worth.get)
    return outcome if worth[best] <= outcome.checked else replace(outcome, ids=best, origin=RECORD)


def _read(receipt: Path) -> SearchOutcome:
    values = read_json(receipt)
    controls = {name: Candidate(**{**control, "ids": tuple(control["ids"])})
                for name, control in values["controls"].items()}
    return SearchOutcome(**{**values, "ids": tuple(values["ids"]), "controls": controls,
                            "iterations": tuple(Iteration(**iteration) for iteration in values["iterations"])})
