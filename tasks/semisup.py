"""The comparison of semi-supervised methods: every trial an MLflow run, then one table and one plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.detection.building import build_detector
from mgral.errors import MemoryFault
from mgral.files import sha256
from mgral.report.semisup import draw_contest, table_markdown, table_text, write_contest
from mgral.semisup.learning import METHODS
from mgral.study.contest import BASELINE, Contest, Trial, TrialResult, open_contest
from mgral.study.opened import Job, device_of
from mgral.study.progress import current
from mgral.study.workers import run_all
from tasks.artifacts import show_table
from tasks.engine import step
from tasks.runs import open_tracker
from tasks.tracking import Run


@dataclass(frozen=True, slots=True)
class Compared:
    """Results by trial, the folder that holds the report, and the table as text."""

    results: dict[Trial, TrialResult]
    folder: Path
    text: str


def list_methods(job: Job) -> str:
    """Every method on a line of its own: what it is, and why it refuses the detector if it does."""
    detector = build_detector(job.config.detector, ("object",), 0)
    name = job.config.detector.config or job.config.detector.preset
    width = max(map(len, METHODS))
    lines = []
    for method, kind in METHODS.items():
        reason = kind.refusal(detector)
        lines.append(f"{method.ljust(width)}  {kind.summary}" + (f"\n{' ' * width}  not for {name}: {reason}"
                                                                 if reason else ""))
    return "\n".join(lines)


@step("compare semi-supervised methods")
def compare_methods(job: Job) -> Compared:
    """Runs the trials that were not run yet, the baseline's first, and reports."""
    contest, trials = open_contest(job, device_of(job.config))
    parent = _parent(job, contest)
    results = {one: contest.result(one) for one in trials if contest.receipt(one).exists()}
    missing, progress = [one for one in trials if one not in results], current.get()
    progress.expect({"trial": len(missing)})
    with progress.phase("[semisup] trainings", "trial", len(missing)) as advance:
        for wave in ([one for one in missing if (one.method == BASELINE) is first] for first in (True, False)):
            for trial, result in run_all(contest, wave, job.config.table.at_once, progress.note):
                advance(1)
                _track(job, contest, parent, trial, result)
                if not isinstance(result, MemoryFault):
                    results[trial] = result
    return _reported(job, parent, {one: results[one] for one in trials if one in results})


def _parent(job: Job, contest: Contest) -> Run:
    config = job.config
    key = sha256("semisup", config.study.name, contest.source, config.model_dump_json())
    return open_tracker(job).run(
        key, f"{config.study.name} · semisup", params={
            "study": config.study.name, "seed": config.seed, "detector.preset": config.detector.preset,
            "semisup.steps": config.semisup.steps},
        tags={"mgral.kind": "semisup", "mgral.study": config.study.name},
        note="Semi-supervised methods on part of the labels; mean and deviation over folds on the test split.")


def _track(job: Job, contest: Contest, parent: Run, trial: Trial, result: TrialResult | MemoryFault) -> None:
    run = open_tracker(job).run(
        sha256(parent.run_id, contest.fingerprint(trial)), str(trial), parent.run_id,
        {"method": trial.method, "fraction": trial.fraction, "fold": trial.fold, "labelled": len(trial.labelled),
         "seed": job.config.seed, **{f"semisup.{name}": value for name, value in contest.semisup.model_copy(
             update={"method": trial.method}).used().items() if name != "method"}},
        {"mgral.kind": "trial", "mgral.study": job.config.study.name})
    if isinstance(result, MemoryFault):
        current.get().note(str(result))
        run.tag("mgral.fault", str(result))
        run.finish(failed=True)
        return
    run.metrics({"map": result.map, "ap50": result.ap50, "seconds": result.seconds,
                 **{f"ap/{label}": value for label, value in zip(contest.classes, result.per_class, strict=True)}})
    run.finish()


def _reported(job: Job, parent: Run, results: dict[Trial, TrialResult]) -> Compared:
    folder = job.workspace.folder / "semisup"
    write_contest(folder / "results.json", results)
    draw_contest(folder / "semisup.png", results)
    (folder / "table.md").write_text(table_markdown(results), encoding="utf-8")
    text = table_text(results)
    for name in ("results.json", "semisup.png", "table.md"):
        parent.artifact(folder / name)
    parent.finish()
    show_table(f"semisup-{job.config.study.name}", _rows(results), text.splitlines()[-1])
    return Compared(results, folder, text)


def _rows(results: dict[Trial, TrialResult]) -> Sequence[dict[str, object]]:
    return [{"method": trial.method, "fraction": trial.fraction, "fold": trial.fold, "map": result.map,
             "ap50": result.ap50, "seconds": round(result.seconds, 1)} for trial, result in results.items()]
