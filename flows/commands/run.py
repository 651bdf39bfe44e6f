"""`mgral run`: a whole study."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import as_given, command, job_from

if TYPE_CHECKING:
    from tasks.job import Job


def add(commands) -> None:
    made = command(commands, "run", _run, "run all cycles of every strategy and seed of a study, then the report")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")


def _run(options: Namespace) -> None:
    job = job_from(options)
    from flows.study import run_study
    from mgral.files import write_json
    from mgral.report.summary import table_text
    from mgral.study.services import check_services

    check_services(job.config.services, job.workspace)
    result = run_study(job)
    if isinstance(result, list):
        for batch in result:
            print(batch.in_words(as_given(options)))
        return
    print(table_text(result))
    print(_where_next(job))
    if options.json:
        write_json(options.json, result.as_json())


def _where_next(job: Job) -> str:
    from mgral.config import folder_name
    from tasks.runs import open_tracker

    space, tracker = job.workspace, open_tracker(job)
    chosen = f"{space.folder}/seed-*/{folder_name(job.strategy)}/*"
    return f"""
Look next:
  learning curves          {space.report / 'learning_curve.png'}
  chosen images            {chosen}/batch.html
  for annotators (COCO)    {chosen}/preannotations.json
  compare runs in MLflow   {tracker.ui}
      and open             {tracker.page()}"""
