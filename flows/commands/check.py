"""`mgral check`: every fault that can be found before work starts, and the plan."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from flows.arguments import command, job_from

if TYPE_CHECKING:
    from tasks.opened import Job
    from tasks.prepare import Prepared


def add(commands) -> None:
    command(commands, "check", _check, "check settings and data, and say what a run would do")


def _check(options: Namespace) -> None:
    job = job_from(options)
    from flows.commands.dvc import check_stages
    from mgral.study.services import check_services
    from tasks.prepare import prepare_data

    check_services(job.config.services, job.workspace)
    print(in_words(job, prepare_data(job)))
    check_stages(job.params, job.config)


def in_words(job: Job, prepared: Prepared) -> str:
    """The plan of a study, a few lines for people."""
    from mgral.study.plan import experiments, searches

    config, study, table = job.config, job.config.study, job.config.table
    first, *others = study.strategies
    seeds = f"seed{'s' if len(study.seeds) > 1 else ''} {', '.join(map(str, study.seeds))}"
    lines = [
        f"study {study.name}: {first} against {', '.join(others) or 'nothing'}, {study.cycles} cycles of "
        f"{study.budget} images, {seeds}",
        f"data: {prepared.labelled} labelled, {prepared.pool} in the pool, {prepared.reward} to measure rewards on, "
        f"{prepared.test} to test on; first snapshot {prepared.snapshot}",
        f"detector: {config.detector.config or config.detector.preset} at {config.detector.image_size} px, "
        f"{config.training.steps} steps of {config.training.batch_size}"]
    if any(map(searches, study.strategies)):
        repeats = experiments(table) - table.records
        lines.append(f"table: {experiments(table)} experiments a cycle ({table.design} design, {repeats} of them "
                     f"repeats), source {table.source}, reward {table.reward}; search: "
                     f"{config.search.iterations} iterations"
                     f"{', if the table can guide one' if config.search.trust == 'auto' else ''}")
    return "\n".join(lines)
