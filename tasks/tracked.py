"""What MLflow is told of cycles, of labels that came back from people, and of studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from mgral.files import md5
from mgral.study.labels import in_force
from mgral.study.results import CycleResult, StrategyResult
from tasks.job import Job
from tasks.runs import cycle_run, known_cycle_run, known_study_run, open_tracker, study_run
from tasks.tracking import Run


def track_cycle(job: Job, result: CycleResult, seconds: Mapping[str, float]) -> str:
    """Closes the cycle's run; returns its address in MLflow's UI. `seconds` by phase."""
    tracker = open_tracker(job)
    run = cycle_run(job, tracker, result.trained_on, sum(seconds.values()))
    run.dataset(job.workspace.snapshot(job.strategy, job.cycle - 1), result.trained_on, "labelled")
    run.metrics({"map": result.map, "ap50": result.ap50, "labelled": result.labelled, **_search_figures(result),
                 **{f"seconds/{phase}": spent for phase, spent in seconds.items()},
                 **{f"ap/{name}": value for name, value in result.per_class.items()}}, step=result.labelled)
    run.tag("mgral.origin", result.choice.origin)
    _track_labels(job, run, result)
    run.finish()
    study = study_run(job, tracker)
    study.correct({"map": result.map, "ap50": result.ap50}, step=result.labelled)
    _track_gain(job, result.map)
    return tracker.page(run.run_id)


def record_labels(job: Job) -> None:
    """Has MLflow know of labels that came, or were taken back, after the cycle's end."""
    path = job.workspace.cycle(job.strategy, job.cycle) / "result.json"
    if path.exists():
        result = CycleResult.read(path)
        run = known_cycle_run(job, open_tracker(job), result.trained_on)
        if run is not None:
            _track_labels(job, run, result)
        mark_outdated(job)


def mark_outdated(job: Job) -> None:
    """Has each cycle's run in MLflow say whether the labels that its detector learned from were corrected since."""
    tracker, space = open_tracker(job), job.workspace
    paths = [space.snapshot(job.strategy, cycle) for cycle in range(job.config.study.cycles + 1)]
    known = {md5(path) for path in paths if path.exists()}

    def wanted(tags: Mapping[str, str]) -> str | None:
        return None if tags.get("mgral.snapshot") in known else "its detector learned from labels corrected since"

    study = known_study_run(job, tracker)
    if study is not None:
        tracker.mark(study.run_id, "mgral.outdated", wanted)


def _track_labels(job: Job, run: Run, result: CycleResult) -> None:
    """What people said of the batch, in the cycle's run; written again where they said something else later."""
    space = job.workspace
    folder, labels = space.cycle(job.strategy, job.cycle), in_force(space.batch(job.strategy, job.cycle))
    again = run.finished and not run.has("mgral.labelled", result.snapshot)
    run.tag("mgral.labelled", result.snapshot, anew=again)
    for name in ("chosen.jpg", "batch.html", "preannotations.json", "snapshot.json", "annotations.json", "result.json"):
        run.artifact(folder / name, anew=again)
    if labels is not None:
        run.tag("mgral.import", f"{labels.number}, {labels.when}", anew=again)
        figures = {f"labels/{name}": count for name, count in asdict(labels.changes).items()} | labels.an_hour()
        run.correct(figures, step=result.labelled)


def _track_gain(job: Job, reached: float) -> None:
    """Beside what the table of experiments thought of the batch before: what the detector that learned it gained."""
    before = replace(job, cycle=job.cycle - 1)
    path = before.workspace.cycle(job.strategy, before.cycle) / "result.json"
    if before.cycle and path.exists():
        result = CycleResult.read(path)
        run = known_cycle_run(before, open_tracker(job), result.trained_on)
        if run is not None:
            run.correct({"gain/map": reached - result.map}, step=result.labelled)


def _search_figures(result: CycleResult) -> dict[str, float | None]:
    found = result.search
    if found is None:
        return {}
    return {"search/value": found.value, "search/estimate": found.estimate, "search/deviation": found.deviation,
            "search/checked": found.checked, "search/fallbacks": found.fallbacks,
            **{f"search/control/{name}": value for name, value in found.controls.items()}}


def track_study(job: Job, result: StrategyResult) -> None:
    """Closes the run of a strategy and seed, whose last cycle is the job's."""
    run = study_run(job, open_tracker(job))
    run.correct({"map": result.final.map, "ap50": result.final.ap50}, step=result.final.labelled)
    for name in ("learning_curve.png", "table.md", "results.json"):
        run.artifact(job.workspace.report / name, anew=True)
    run.finish()
    _track_gain(replace(job, cycle=job.cycle + 1), result.final.map)
