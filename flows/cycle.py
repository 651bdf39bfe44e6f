"""One active-learning cycle.

`prefect deployment run 'cycle/local' --param cycle=1`, or without a server `python -m flows.cycle --cycle 1`.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.arguments import guarded, job_of, parser
from mgral.study.opened import Job
from mgral.study.progress import LineProgress, current
from mgral.study.results import CycleResult
from mgral.study.workers import warm_up
from tasks.annotation import annotate_batch, export_chosen
from tasks.bookkeeping import commit_cycle, record_cycle
from tasks.detector import inspect_images, train_detector
from tasks.prepare import prepare_data
from tasks.search import choose_images, search_images
from tasks.table import fill_table


def run_cycle(job: Job) -> CycleResult:
    """Trains, chooses, has annotated and takes a new snapshot; what was done before is used again."""
    prepare_data(job)
    if job.strategy == "mgral" and job.config.table.at_once != 1:
        warm_up()
    trained = train_detector(job, job.cycle - 1)
    view, inspecting = inspect_images(job, trained)
    if job.strategy == "mgral":
        table = fill_table(job, trained, view)
        choice = search_images(job, trained, view, table)
    else:
        table, choice = None, choose_images(job, trained, view)
    export_chosen(job, choice.ids, view)
    snapshot, annotating = annotate_batch(job, choice.ids)
    result = record_cycle(job, trained, table, choice, snapshot, {"inspect": inspecting, "annotate": annotating})
    commit_cycle(job)
    return result


def _name() -> str:
    return "{strategy}-cycle-{cycle}".format(**{"strategy": "main", **_given(flow_run.parameters)})


def _given(parameters: dict) -> dict:
    return {name: value for name, value in parameters.items() if value is not None}


@flow(name="cycle", flow_run_name=_name, persist_result=False)
def cycle(cycle: int = 1, params: str = "params.yaml", workdir: str = ".", data: str | None = None,
          strategy: str | None = None) -> CycleResult:
    """One cycle of `strategy` (the study's own when not given), as `params` describes it."""
    current.set(LineProgress(get_run_logger().info))
    return run_cycle(job_of(Path(params), Path(workdir), Path(data) if data else None, strategy, cycle))


def main() -> None:
    options = parser(__doc__, cycle=True).parse_args()
    run_cycle(job_of(options.params, options.workdir, options.data, options.strategy, options.cycle))


if __name__ == "__main__":
    guarded(main)
