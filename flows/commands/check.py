"""`mgral check`: every fault that can be found before work starts, and the plan."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import command, job_from
from mgral.errors import DataError

if TYPE_CHECKING:
    from mgral.config import Config
    from mgral.study.preparation import Described
    from tasks.job import Job


MUCH = 2**30
"""Bytes of disk that are worth a line."""


def add(commands) -> None:
    made = command(commands, "check", _check, "check settings and data, and say what a run would do")
    made.add_argument("--json", type=Path, metavar="FILE",
                      help="write what the data set is, image by image, to FILE; a data set without faults counts as "
                           "checked even if no study could be drawn from it")
    made.add_argument("--hash", action="store_true",
                      help="also read every byte of every image, and compare with what the study began with")


def _check(options: Namespace) -> None:
    job = job_from(options, without_params=True)
    from flows.commands.dvc import check_stages
    from mgral.progress import current
    from mgral.study.pixels import check_pixels
    from mgral.study.preparation import describe, raise_all
    from mgral.study.services import check_services

    described = describe(job.config, job.workspace, job.data, detector=options.json is None)
    for note in (*described.loaded.notes, *described.notes):
        current.get().note(note)
    problems = [DataError(*described.loaded.problems)] if described.loaded.problems else []
    if options.json is not None:
        _write(options.json, described)
        raise_all(problems)
        return
    if options.hash:
        print(f"{check_pixels(job.workspace, described.dataset)} image files are as they were when they joined")
    raise_all([*problems, *described.study_problems])
    check_services(job.config.services, job.workspace)
    print(in_words(job, described))
    check_stages(job.params, job.config)


def _write(path: Path, described: Described) -> None:
    from mgral.data.description import as_data
    from mgral.files import write_json

    faults = [problem for fault in described.study_problems for problem in fault.problems]
    write_json(path, as_data(described.loaded, described.notes, faults))
    print(f"{path}: {len(described.dataset.images)} images, {len(described.loaded.problems)} problems")


def in_words(job: Job, described: Described) -> str:
    """The plan of a study, a few lines for people."""
    from mgral.study.plan import experiments, searches

    config, study, table = job.config, job.config.study, job.config.table
    first, *others = study.strategies
    seeds = f"seed{'s' if len(study.seeds) > 1 else ''} {', '.join(map(str, study.seeds))}"
    lines = [
        f"study {study.name}: {first}{' against ' if others else ''}{', '.join(others)}, {study.cycles} cycles of "
        f"{study.budget} images, {seeds}",
        _data_in_words(described, study.budget),
        f"detector: {config.detector.config or config.detector.preset} at {config.detector.image_size} px, "
        f"{config.training.steps} steps of {config.training.batch_size}"]
    lines += _kept_in_words(config, described)
    if any(map(searches, study.strategies)):
        repeats = experiments(table) - table.records
        lines.append(f"table: {experiments(table)} experiments a cycle ({table.design} design, {repeats} of them "
                     f"repeats), source {table.source}, reward {table.reward}; search: "
                     f"{config.search.iterations} iterations"
                     f"{', if the table can guide one' if config.search.trust == 'auto' else ''}")
    return "\n".join(lines)


def _kept_in_words(config: Config, described: Described) -> list[str]:
    """How much disk the maps of frozen stages take, where it is much."""
    from mgral.data.images import canvas_of
    from mgral.detection import most_kept

    dataset, splits, views = described.dataset, described.splits, config.training.views
    trained_on = len(dataset.images) if splits is None else len(splits.labelled) + len(splits.pool)
    canvas = canvas_of(dataset, config.detector.image_size)
    most = most_kept(config.detector, canvas, len(dataset.images), trained_on, views)
    return [f"frozen stages: what they make of the images and {views} views of each takes up to {most / MUCH:.1f} GiB "
            "below runs/cache"] if most >= MUCH else []


def _data_in_words(described: Described, budget: int) -> str:
    splits, dataset = described.splits, described.dataset
    if splits is None:
        return (f"data: {len(dataset.images)} images, none of them labelled: the first batch of {budget} is chosen for "
                "diversity")
    return (f"data: {len(splits.labelled)} labelled, {len(splits.pool)} in the pool, {len(splits.reward)} to measure "
            f"rewards on, {len(splits.test)} to test on")
