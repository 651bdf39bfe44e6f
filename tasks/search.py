"""The choice of a batch: the agent's search on the lookup table, or a query strategy in one shot."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from mgral.agent.search import Iteration, Search
from mgral.data.dataset import ImageId
from mgral.files import read_json, write_json, writing
from mgral.inspection import Inspection
from mgral.lookup.controls import compare
from mgral.lookup.fidelity import Settled, reward_of, settle
from mgral.lookup.reward import TableReward
from mgral.lookup.store import Table, open_table
from mgral.report.search import draw_search, write_search
from mgral.strategies import PoolView, choose
from mgral.study.fingerprint import derived_seed, fingerprint
from mgral.study.laboratory import Laboratory
from mgral.study.opened import Job, device_of, open_study
from mgral.study.progress import current
from mgral.study.results import RECORD
from tasks.detector import Trained
from tasks.engine import step
from tasks.runs import cycle_run, open_tracker
from tasks.source import Sets, divided, open_laboratory, open_source, representation, whole
from tasks.table import Filled, learn_from


@dataclass(frozen=True, slots=True)
class Chosen:
    """The batch of a cycle; `origin` says how it was found.

    `value` is what the table thinks it is worth (estimate - caution × deviation), `controls` the same of what simpler
    searches chose (`mgral.lookup.controls`) and `rivals` their batches; `checked` is what a real experiment says, if
    one was asked for. `value`, `estimate`, `deviation` and `checked` are the search's batch's, also where a record was
    taken after the check. None and empty for a batch that no search found.
    """

    ids: tuple[ImageId, ...]
    origin: str
    value: float | None = None
    estimate: float | None = None
    deviation: float | None = None
    checked: float | None = None
    controls: Mapping[str, float] = field(default_factory=dict)
    rivals: Mapping[str, tuple[ImageId, ...]] = field(default_factory=dict)
    fallbacks: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""


@step("search batch")
def search_images(job: Job, trained: Trained, view: Path, filled: Filled) -> Chosen:
    """Runs the agent's search; where the table cannot guide one, the heuristic's batch takes its place.

    `search.trust: always` searches any table.
    """
    if filled.guides or job.config.search.trust == "always":
        chosen, facts = _found(job, trained, view, filled)
    else:
        _skip(job, job.config.search.iterations)
        chosen, facts = replace(_by_strategy(job, "balanced_entropy", Inspection.load(view)),
                                origin="balanced_entropy, as the table cannot guide a search"), []
    _show(job, trained, chosen, facts)
    current.get().note(f"{job.title} chose {len(chosen.ids)} images ({chosen.origin}). {chosen.remark}".rstrip())
    return chosen


@step("choose batch")
def choose_images(job: Job, trained: Trained, view: Path) -> Chosen:
    """Lets a query strategy choose in one shot, from the whole pool.

    Only a strategy that is an upper reference is shown the truth.
    """
    return _by_strategy(job, job.strategy, Inspection.load(view), whole)


def _found(job: Job, trained: Trained, view: Path, filled: Filled) -> tuple[Chosen, list[Iteration]]:
    """Searches from the last checkpoint if there is one; a finished search is used again."""
    config = job.config
    name = fingerprint("search", filled.scope, filled.fingerprints, config.table, config.search, config.study.budget,
                       config.seed)
    receipt = job.workspace.cached("searches", name, ".json")
    if receipt.exists():
        _skip(job, config.search.iterations)
    else:
        with open_table(f"sqlite:///{job.workspace.table}") as table:
            chosen, facts = _searched(job, trained, Inspection.load(view), filled, table, receipt.with_suffix(".pt"))
        write_json(receipt, {"chosen": asdict(chosen), "iterations": [asdict(one) for one in facts]})
    found = read_json(receipt)
    chosen = Chosen(**{**found["chosen"], "ids": tuple(found["chosen"]["ids"])})
    return chosen, [Iteration(**one) for one in found["iterations"]]


def _by_strategy(job: Job, name: str, seen: Inspection, sets: Callable[[Job, Inspection], Sets] = divided) -> Chosen:
    begun = time.monotonic()
    pool, known = sets(job, seen)
    truth = open_study(job).dataset.boxes if name == "rare_first" else None
    rng = np.random.default_rng(derived_seed(job.config.seed, name, job.cycle))
    ids = choose(name, PoolView(pool, known, seen, truth), job.config.study.budget, rng)
    return Chosen(tuple(sorted(ids)), name, seconds={"choose": time.monotonic() - begun})


def _searched(job: Job, trained: Trained, seen: Inspection, filled: Filled, table: Table,
              interim: Path) -> tuple[Chosen, list[Iteration]]:
    begun, config = time.monotonic(), job.config
    before = {"spent": 0.0, "facts": []}
    if interim.exists():
        before = torch.load(interim, map_location="cpu", weights_only=True)
    source = open_source(job, trained, seen)
    laboratory = open_laboratory(job, trained, table, source)
    records = [table.find(one) for one in filled.fingerprints]
    unlearned, known = learn_from(job, table, laboratory, source, records)
    cap = config.table.fallback_cap
    pool, labelled = divided(job, seen)
    represent = representation(job, seen, pool, labelled, config.study.budget)
    reward = TableReward(represent, known.teach(unlearned), _experiment(job, laboratory, "fallback"), cap,
                         pace=max(1, config.search.iterations // (cap + 1)), caution=config.search.caution,
                         state=before.get("reward"))
    search = Search(pool, seen.of(pool).embedding, config.study.budget, reward, config.search,
                    derived_seed(config.seed, "search", trained.snapshot), before.get("search"), device_of(config))
    facts = [Iteration(**one) for one in before["facts"]]

    def save() -> None:
        _save(interim, {"search": search.state(), "reward": reward.state(), "facts": [asdict(one) for one in facts],
                        "spent": before["spent"] + time.monotonic() - begun})

    _iterated(job, search, facts, save)
    choice = search.choose(_bound(reward, config.search.final_caution))
    spent = {"search": before["spent"] + time.monotonic() - begun}
    controls = {}
    if config.search.controls:
        begun, heuristic = time.monotonic(), _by_strategy(job, "balanced_entropy", seen).ids
        measured = [one.image_ids for one in records if {*one.image_ids} <= {*pool}]  # not those played as a pool
        controls = compare(reward.estimate, pool, heuristic, measured, search.queries,
                           derived_seed(config.seed, "controls", job.cycle))
        spent["controls"] = time.monotonic() - begun
    # The estimate even where the batch was measured: agent and controls are judged alike.
    foretold, value = reward.predict([choice.ids]), float(reward.estimate([choice.ids])[0])
    remark = str(reward) if search.iteration == config.search.iterations else (
        f"Stopped after {search.iteration} of {config.search.iterations} iterations: the mean no longer rose. {reward}")
    checked = _checked(job, laboratory, choice.ids)
    chosen = Chosen(choice.ids, choice.origin, value, float(foretold.value[0]), float(foretold.deviation[0]),
                    checked, {name: one.value for name, one in controls.items()},
                    {name: one.ids for name, one in controls.items()}, len(reward.fallbacks), spent, remark)
    if checked is None:
        return chosen, facts
    return _after_check(chosen, settle(records, config.table), reward.fallbacks), facts


def _after_check(chosen: Chosen, settled: Settled, fallbacks: Sequence[tuple[tuple[ImageId, ...], float]]) -> Chosen:
    """The batch that was checked, or the best of all records where that was measured to be worth more.

    A search finds the places where the estimator is too hopeful; measurements are alike for both. Fall-backs are
    records by now; repeats of a batch count with their mean.
    """
    count = np.bincount(settled.groups)
    means = np.bincount(settled.groups, settled.rewards) / count
    worth = dict(zip(settled.batches, means[settled.groups].tolist(), strict=True)) | dict(fallbacks)
    best = max(worth, key=worth.get)
    return chosen if worth[best] <= chosen.checked else replace(chosen, ids=best, origin=RECORD)


def _iterated(job: Job, search: Search, facts: list[Iteration], save: Callable[[], None]) -> None:
    """Lets the search do what is left of it, adds to the facts and saves now and then."""
    config, progress = job.config.search, current.get()
    progress.skip("search", search.iteration)
    left = config.iterations - search.iteration
    with progress.phase(f"{job.title} searching", "search", left) as advance:
        for fact in search:
            facts.append(fact)
            advance(1)
            if fact.iteration % config.checkpoint_every == 0:
                save()
    progress.skip("search", config.iterations - search.iteration)


def _skip(job: Job, iterations: int) -> None:
    """A search that need not be run, or no more of it; nor its check."""
    current.get().skip("search", iterations)
    current.get().skip("experiment", int(job.config.search.check))


def _bound(reward: TableReward, caution: float | None) -> Callable[[list[tuple[ImageId, ...]]], np.ndarray] | None:
    """The judge of the last choice, where it is more or less cautious than the search."""
    if caution is None:
        return None

    def judge(batches: list[tuple[ImageId, ...]]) -> np.ndarray:
        found = reward.predict(batches)
        return found.value - caution * found.deviation

    return judge


def _checked(job: Job, laboratory: Laboratory, batch: tuple[ImageId, ...]) -> float | None:
    """What a real experiment says of the batch; it joins the table of experiments as a check."""
    if not job.config.search.check:
        return None
    with current.get().phase(f"{job.title} checking", "experiment", 1) as advance:
        value = _experiment(job, laboratory, "check")(batch)
        advance(1)
    return value


def _experiment(job: Job, laboratory: Laboratory, origin: str) -> Callable[[tuple[ImageId, ...]], float]:
    def run(batch: tuple[ImageId, ...]) -> float:
        return reward_of(laboratory.measure(batch, origin), job.config.table)

    return run


def _save(path: Path, state: dict) -> None:
    with writing(path) as temporary:
        torch.save(state, temporary)


def _show(job: Job, trained: Trained, chosen: Chosen, facts: list[Iteration]) -> None:
    """The search's curve and its rivals, beside the batch and in the cycle's MLflow run."""
    folder = job.workspace.cycle(job.strategy, job.cycle)
    write_search(folder / "search.csv", facts)
    draw_search(folder / "search.png", facts, job.config.table.reward, chosen.value, chosen.controls)
    write_json(folder / "controls.json", {name: {"value": value, "ids": chosen.rivals[name]}
                                          for name, value in chosen.controls.items()})
    run = cycle_run(job, open_tracker(job), trained.snapshot)
    run.curve([(one.iteration, {"search/mean": one.mean, "search/best": one.best, "search/baseline": one.baseline,
                                "search/entropy": one.entropy, "search/gradient_norm": one.gradient_norm})
               for one in facts])
    run.artifact(folder / "search.png")
    run.artifact(folder / "controls.json")
