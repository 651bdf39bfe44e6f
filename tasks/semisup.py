"""The comparison of semi-supervised methods: every trial an MLflow run, then one table and one plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.comparison.partial_labels import PartialLabelStudy, Trial, TrialResult
from mgral.data.dataset import dataset_hash
from mgral.data.splits import draw_test
from mgral.detection import build_detector
from mgral.errors import MemoryFault
from mgral.experiments.processes import run_all
from mgral.files import sha256
from mgral.progress import current
from mgral.report.semisup import draw_comparison, table_markdown, table_text, write_comparison
from mgral.study.preparation import load_data, open_images
from mgral.training.from_scratch import SUPERVISED
from mgral.training.methods import METHODS
from tasks.artifacts import show_table
from tasks.engine import step
from tasks.job import Job
from tasks.opened import device_of
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
    study, trials = open_comparison(job, device_of(job.config))
    parent = _parent(job, study)
    results = {trial: study.result(trial) for trial in trials if study.receipt(trial).exists()}
    missing, progress = [trial for trial in trials if trial not in results], current.get()
    progress.subject = "[semisup]"
    progress.expect({"trial": len(missing)})
    with progress.phase("trainings", "trial", len(missing)) as advance:
        for wave in ([trial for trial in missing if (trial.method == SUPERVISED) is first] for first in (True, False)):
            for trial, result in run_all(study, wave, job.config.table.at_once):
                advance(1)
                _track(job, study, parent, trial, result)
                if not isinstance(result, MemoryFault):
                    results[trial] = result
    return _reported(job, parent, {trial: results[trial] for trial in trials if trial in results})


def open_comparison(job: Job, device: str) -> tuple[PartialLabelStudy, list[Trial]]:
    """The study that the settings describe, on their data set, and its trials, the baseline's first.

    Raises:
        ConfigError, DataError: settings or data that cannot be used, or a method that refuses the detector.
        StateError: the split files were drawn from other data or with another seed.
    """
    config, space, dataset = job.config, job.workspace, load_data(job.config.data, job.workspace, job.data).dataset
    train, test = draw_test(dataset, config.data, job.seed)
    study = PartialLabelStudy(
        config.detector, config.semisup, dataset.classes,
        open_images(dataset, config.detector.image_size, space.images).on(device), dataset.boxes, train, test, device,
        job.seed, space.cache / "trials", dataset_hash(dataset))
    return study, study.trials(config.semisup_study, space.folder / "semisup" / "splits")


def _parent(job: Job, study: PartialLabelStudy) -> Run:
    config = job.config
    key = sha256("semisup", config.study.name, study.source, config.model_dump_json())
    return open_tracker(job).run(
        key, f"{config.study.name} · semisup", params={
            "study": config.study.name, "seed": job.seed, "detector.preset": config.detector.preset,
            "semisup.steps": config.semisup.steps},
        tags={"mgral.kind": "semisup", "mgral.study": config.study.name},
        note="Semi-supervised methods on part of the labels; mean and deviation over folds on the test split.")


def _track(job: Job, study: PartialLabelStudy, parent: Run, trial: Trial, result: TrialResult | MemoryFault) -> None:
    run = open_tracker(job).run(
        sha256(parent.run_id, study.fingerprint(trial)), str(trial), parent.run_id,
        {"method": trial.method, "fraction": trial.fraction, "fold": trial.fold, "labelled": len(trial.labelled),
         "seed": job.seed, **{f"semisup.{name}": value for name, value in study.semisup.model_copy(
             update={"method": trial.method}).used().items() if name != "method"}},
        {"mgral.kind": "trial", "mgral.study": job.config.study.name},
        seconds=0.0 if isinstance(result, MemoryFault) else result.seconds)
    if isinstance(result, MemoryFault):
        current.get().note(str(result))
        run.tag("mgral.fault", str(result))
        run.finish(failed=True)
        return
    run.metrics({"map": result.map, "ap50": result.ap50, "seconds": result.seconds,
                 **{f"ap/{label}": value for label, value in zip(study.classes, result.per_class, strict=True)}})
    run.finish()


def _reported(job: Job, parent: Run, results: dict[Trial, TrialResult]) -> Compared:
    folder = job.workspace.folder / "semisup"
    write_comparison(folder / "results.json", results)
    draw_comparison(folder / "semisup.png", results)
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
