"""Records what a cycle and a study found: result files, MLflow, Prefect artifacts, dvc.lock."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from mgral.files import read_json, write_json
from mgral.report.curves import draw_curves, write_curves, write_metrics
from mgral.report.summary import remarks, table_markdown
from mgral.study.plan import REPORT, cycle_stage, prepare_stage
from mgral.study.results import CycleResult, FinalResult, StrategyResult, StudyResult
from tasks.annotation import Annotated
from tasks.artifacts import show_table, show_text
from tasks.choice import Chosen
from tasks.detector import Inspected, Trained
from tasks.engine import step
from tasks.job import Job
from tasks.opened import open_study
from tasks.snapshots import commit_stage
from tasks.tracked import mark_outdated, track_cycle, track_study

LARGEST = 1_000_000
"""Bytes of a picture that is shown in Prefect's page."""


@step("record cycle")
def record_cycle(job: Job, trained: Trained, inspected: Inspected, chosen: Chosen, annotated: Annotated) -> CycleResult:
    """Writes the cycle's files and closes its MLflow run."""
    result = CycleResult(
        cycle=job.cycle, labelled=trained.labelled, map=trained.map, ap50=trained.ap50, per_class=trained.per_class,
        choice=chosen.choice, snapshot=annotated.snapshot, table=chosen.table, search=chosen.search,
        trained_on=trained.snapshot, content=chosen.content)
    folder = job.workspace.cycle(job.strategy, job.cycle)
    result.write(folder / "result.json")
    write_json(folder / "metrics.json", {"labelled": result.labelled, "map": result.map, "ap50": result.ap50})
    spent = {**trained.seconds, **chosen.seconds, "inspect": inspected.seconds, "annotate": annotated.seconds}
    write_json(job.workspace.seconds(job.strategy, job.cycle), spent)
    link = track_cycle(job, result, spent)
    mark_outdated(job)
    show_text(job.name, _cycle_markdown(job, result, link), "What this cycle chose")
    return result


@step("record study")
def record_study(finals: Mapping[Job, Trained]) -> StudyResult:
    """Gathers all cycles and the last detectors into the report, and closes the studies' MLflow runs."""
    job = next(iter(finals))
    result = StudyResult(job.config.study.name, tuple(_strategy_result(last, trained)
                                                      for last, trained in finals.items()))
    folder = job.workspace.report
    write_json(folder / "results.json", result.as_json())
    write_json(job.workspace.final, [{"strategy": run.strategy, "seed": run.seed, **asdict(run.final)}
                                for run in result.runs])
    write_metrics(folder / "metrics.json", result)
    write_curves(folder, result)
    draw_curves(folder / "learning_curve.png", result)
    (folder / "table.md").write_text(table_markdown(result), encoding="utf-8")
    for last, run in zip(finals, result.runs, strict=True):
        track_study(last, run)
    show_table("study", [{"strategy": run.strategy, "seed": run.seed, "labelled": labelled, "map": round(reached, 4),
                          "ap50": round(ap50, 4)} for run in result.runs for labelled, reached, ap50 in run.curve()],
               "Learning curves on the test split")
    return result


def commit_cycle(job: Job) -> None:
    """Has DVC count the preparation and this cycle as done, where the working directory is a DVC project."""
    study = job.config.study
    commit_stage(job.workdir, prepare_stage(study, job.seed), job.params)
    commit_stage(job.workdir, cycle_stage(study, job.seed, job.strategy, job.cycle), job.params)


def commit_report(job: Job) -> None:
    commit_stage(job.workdir, REPORT, job.params)


def _strategy_result(job: Job, trained: Trained) -> StrategyResult:
    numbers = range(1, job.config.study.cycles + 1)
    folders = [job.workspace.cycle(job.strategy, number) for number in numbers]
    cycles = tuple(CycleResult.read(folder / "result.json") for folder in folders)
    times = [job.workspace.seconds(job.strategy, number) for number in numbers]
    seconds = tuple(read_json(path) if path.exists() else {} for path in times)  # not on a clone: times are not DVC's
    final = FinalResult(trained.labelled, trained.map, trained.ap50, trained.per_class, trained.snapshot)
    return StrategyResult(job.strategy, job.seed, cycles, final, (*seconds, trained.seconds))


def _cycle_markdown(job: Job, result: CycleResult, link: str) -> str:
    images = open_study(job).dataset.images
    folder = job.workspace.cycle(job.strategy, job.cycle).resolve()
    ranked = result.choice.ranked()
    scores = ranked.scores or (0.0,) * len(ranked.ids)
    rows = "\n".join(f"| {_cell(images[image_id].file_name)} | {score:.3f} | {_cell(reason)} |"
                     for image_id, score, reason in zip(ranked.ids, scores, ranked.reasons, strict=False))
    return (f"# {job.strategy}, cycle {job.cycle}\n\n"
            f"{result.labelled} labelled: mAP {result.map:.3f}, AP50 {result.ap50:.3f}. {' '.join(remarks(result))}\n\n"
            f"Pictures: `{folder / 'batch.html'}`. For annotators: `{folder / 'preannotations.json'}`. Snapshot "
            f"{result.snapshot}. [MLflow run]({link}), once `mlflow ui` runs as the end of `mgral run` says.\n\n"
            f"## {len(result.choice.ids)} chosen images ({result.choice.origin})\n\n{_picture(folder / 'chosen.jpg')}"
            f"| file | score | why |\n| --- | --- | --- |\n{rows}\n")


def _picture(path: Path) -> str:
    """In the text itself, for Prefect's page reads no files."""
    if path.stat().st_size > LARGEST:
        return ""
    return f"![chosen images](data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()})\n\n"


def _cell(text: str) -> str:
    """Harmless in a table of Markdown, whatever a file is called."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
