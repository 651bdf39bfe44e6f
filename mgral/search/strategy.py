"""MGRAL as a query strategy: fit a lookup table of experiments, then let the agent search it for the best batch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mgral.data.dataset import Batch
from mgral.errors import TableError
from mgral.experiments.experiment import measured_at
from mgral.experiments.record import TRUE_REPEATS, Failure, Record
from mgral.experiments.runner import ExperimentRunner, fill
from mgral.lookup.aggregation import aggregate
from mgral.lookup.design import design_batches
from mgral.lookup.estimator import Estimator, make_estimator
from mgral.lookup.representation import Representation
from mgral.lookup.summary import TableSummary, TrueGains, assess
from mgral.progress import current
from mgral.search.optimiser import Candidate
from mgral.search.run import RECORD, SearchOutcome, run_search
from mgral.search.setup import Setup
from mgral.strategies import balanced_entropy, content
from mgral.strategies.strategy import INSPECTION, Need, PoolView, Selection, Strategy, chosen

FEWEST = 4
"""Batches, below which nothing can be learned from a table."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A filled table: `pool` are the images that it looks at, `summary` says what it is worth."""

    pool: Batch
    runner: ExperimentRunner
    represent: Representation
    records: tuple[Record, ...]
    estimator: Estimator
    summary: TableSummary


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the strategy found out besides the batch; `search` is None where the table could not guide one."""

    table: TableSummary
    search: SearchOutcome | None


def fit(view: PoolView) -> Generator[Record | Failure, None, Fitted]:
    """Runs the designed experiments that are not in the table yet, a record each, and judges what they say together.

    Raises:
        TableError: too few experiments fitted into memory.
    """
    setup, config = view.setup, view.setup.config
    pool = setup.looked_at(view.inspection, view.pool, view.labelled)
    runner = setup.runner(view.inspection, pool)
    represent = Representation(config.representation, view.inspection, pool, view.labelled, setup.budget,
                               setup.seed("representation"), view.content)
    batches = design_batches(config.design, config.records, view.inspection, pool, view.labelled, setup.budget,
                             setup.seed("design", len(setup.labelled)), view.content)
    if len({*batches}) < FEWEST:
        raise TableError(f"expected at least {FEWEST} different batches of {setup.budget} images to measure, got "
                         f"{len({*batches})} of the {len(pool)} images that can be chosen and look different; lower "
                         "study.budget, or set pool.near_duplicates: allow")
    stops = [measured_at(runner.setup.config.steps, config.measurements)[rung - 1] for rung in config.rungs]
    records = yield from fill(runner, batches, config.reward, config.repeats, stops)
    if len({record.image_ids for record in records}) < FEWEST:
        raise TableError(f"expected at least {FEWEST} experiments to learn from, got {len(records)}: the others did "
                         "not fit into memory, see above; lower table.at_once or detector.image_size")
    unfitted = make_estimator(config, represent, setup.seed("estimator"))
    aggregated = aggregate(records, config.reward)
    described = represent(aggregated.batches)
    summary = assess(records, config.reward, aggregated, described, unfitted, runner.scope, runner.reused, runner.new)
    estimator = unfitted.fit(described, aggregated.rewards, aggregated.noise)
    if setup.true_gains:
        true = yield from _true_rank(setup, view, pool, represent, estimator, {record.image_ids for record in records})
        summary = replace(summary, true=true)
    current.get().note(f"reused {summary.reused}, run {summary.new}. {summary.verdict}")
    return Fitted(pool, runner, represent, tuple(records), estimator, summary)


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """The batch that the search finds; where the table cannot guide one, that of the heuristic: `content`, or
    `balanced_entropy` where too little is annotated to know what is in the images.

    `search.trust: always` searches any table. The strategy's own seeds decide, not `rng`, so that a search that was
    interrupted goes on.
    """
    setup, fitted = view.setup, view.fitted
    strategy = balanced_entropy.STRATEGY if view.content is None else content.STRATEGY
    heuristic = chosen(strategy, replace(view, pool=fitted.pool), budget, np.random.default_rng(
        setup.seed(strategy.name, setup.provenance.cycle)))
    if not (fitted.summary.quality.reliable or setup.search.trust == "always"):
        skip_search(setup)
        return replace(heuristic, origin=f"{strategy.name}, as the table cannot guide a search",
                       outcome=Outcome(fitted.summary, None))
    outcome = run_search(view, budget, Candidate(tuple(sorted(heuristic.ids)), 0.0, strategy.name))
    current.get().note(f"chose {len(outcome.ids)} images ({outcome.origin}). {outcome.remark}")
    return Selection(outcome.ids, (outcome.estimate,) * budget, (_reason(outcome),) * budget, outcome.origin,
                     Outcome(fitted.summary, outcome))


def skip_search(setup: Setup) -> None:
    """A search that need not be run, nor its check."""
    current.get().skip("search", setup.search.iterations)
    current.get().skip("experiment", int(setup.search.check))


def _reason(outcome: SearchOutcome) -> str:
    """A search values batches: its images share one reason."""
    if outcome.origin == RECORD:
        return "in the batch that was measured to be worth most"
    return f"in the batch of the highest estimated reward ({outcome.estimate:.3f} ± {outcome.deviation:.3f})"


def _true_rank(setup: Setup, view: PoolView, pool: Batch, represent: Representation, estimator: Estimator,
               measured: set[Batch]) -> Generator[Record | Failure, None, TrueGains]:
    """How the estimate ranks batches that are no records, by what the next detector gains from their true labels."""
    count = setup.true_gains
    designed = design_batches("spread", 2 * count + len(measured), view.inspection, pool, view.labelled, setup.budget,
                              setup.seed("true gains", len(setup.labelled)), view.content)
    batches = [batch for batch in dict.fromkeys(designed) if batch not in measured][:count]
    trained = yield from _trained(setup.true_runner(), batches)
    return TrueGains.of(trained, batches, estimator.predict(represent(batches)).value)


def _trained(runner: ExperimentRunner, batches: Sequence[Batch]) -> Generator[Record | Failure, None, list[Record]]:
    trained = []
    with current.get().phase("true gains", "true gain", TRUE_REPEATS * len(batches)) as advance:
        for repeat in range(TRUE_REPEATS):
            for record in runner.measure_all(batches, "truth", repeat):
                yield record
                if isinstance(record, Failure):
                    raise record.reason
                trained.append(record)
                advance(1)
    return trained


STRATEGY = Strategy("mgral", "the batch of the highest reward, searched by an agent in a table of experiments", select,
                    "arXiv 2310.08387", INSPECTION | {Need.EXPERIMENTS}, fit=fit)
