"""Records what a cycle and a study found: result files, MLflow, Prefect artifacts, dvc.lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mgral.files import read_json, write_json
from mgral.report.curves import draw_curves, write_curves, write_metrics
from mgral.report.summary import remarks, table_markdown
from mgral.study.opened import Job
from mgral.study.results import CycleResult, FinalResult, StrategyResult, StudyResult
from tasks.artifacts import show_table, show_text
from tasks.detector import Trained
from tasks.engine import step
from tasks.runs import cycle_run, open_tracker, study_run
from tasks.search import Chosen
from tasks.snapshots import commit_stage
from tasks.table import Filled


@step("record cycle")
def record_cycle(job: Job, trained: Trained, table: Filled | None, choice: Chosen, snapshot: str,
                 seconds: Mapping[str, float]) -> CycleResult:
    """Writes result.json and closes the cycle's MLflow run."""
    result = CycleResult(
        cycle=job.cycle, labelled=trained.labelled, map=trained.map, ap50=trained.ap50, per_class=trained.per_class,
        chosen=choice.ids, origin=choice.origin, snapshot=snapshot, fallbacks=choice.fallbacks,
        value=choice.value, estimate=choice.estimate, deviation=choice.deviation, checked=choice.checked,
        controls=choice.controls,
        **({} if table is None else {"records": table.records + choice.fallbacks, "loo_r2": table.loo_r2,
                                     "spearman": table.spearman, "verdict": table.verdict}))
    result.write(job.workspace.cycle(job.strategy, job.cycle) / "result.json")
    spent = {**trained.seconds, **({} if table is None else table.seconds), **choice.seconds, **seconds}
    write_json(job.workspace.seconds(job.strategy, job.cycle), spent)
    link = _track_cycle(job, trained, result, spent)
    show_text(f"cycle-{job.strategy}-{job.cycle}", _cycle_markdown(job, result, link), "What this cycle chose")
    return result


@step("record study")
def record_study(job: Job, finals: Mapping[str, Trained]) -> StudyResult:
    """Gathers all cycles and the last detectors into the report, and closes the studies' MLflow runs."""
    strategies = tuple(_strategy_result(job, strategy, trained) for strategy, trained in finals.items())
    result = StudyResult(job.config.study.name, job.config.seed, strategies)
    folder = job.workspace.report
    write_json(folder / "results.json", result.as_json())
    write_metrics(folder / "metrics.json", result)
    write_curves(folder / "learning_curve.csv", result)
    draw_curves(folder / "learning_curve.png", result)
    (folder / "table.md").write_text(table_markdown(result), encoding="utf-8")
    for one in strategies:
        _track_study(job, one)
    show_table("study", [{"strategy": one.strategy, "labelled": n, "map": m, "ap50": a}
                         for one in strategies for n, m, a in one.curve()], "Learning curves on the test split")
    return result


def commit_cycle(job: Job) -> None:
    """Has DVC count the preparation and this cycle as done, where the working directory is a DVC project."""
    main = job.strategy == job.config.study.strategy
    commit_stage(job.workdir, "prepare", job.params)
    commit_stage(job.workdir, f"cycle@{job.cycle}" if main else f"baseline@{job.strategy}-{job.cycle}", job.params)


def commit_report(job: Job) -> None:
    commit_stage(job.workdir, "report", job.params)


def _strategy_result(job: Job, strategy: str, trained: Trained) -> StrategyResult:
    numbers = range(1, job.config.study.cycles + 1)
    cycles = tuple(CycleResult.read(job.workspace.cycle(strategy, number) / "result.json") for number in numbers)
    seconds = tuple(read_json(job.workspace.seconds(strategy, number)) for number in numbers)
    final = FinalResult(trained.labelled, trained.map, trained.ap50, trained.per_class, trained.snapshot)
    return StrategyResult(strategy, cycles, final, (*seconds, trained.seconds))


def _track_cycle(job: Job, trained: Trained, result: CycleResult, seconds: Mapping[str, float]) -> str:
    """Closes the cycle's run; returns its address in MLflow's UI, where that runs with its own defaults."""
    tracker, folder = open_tracker(job), job.workspace.cycle(job.strategy, job.cycle)
    run = cycle_run(job, tracker, trained.snapshot)
    run.dataset(job.workspace.snapshot(job.strategy, job.cycle - 1), trained.snapshot, "labelled")
    run.metrics({"map": result.map, "ap50": result.ap50, "labelled": result.labelled, "table/records": result.records,
                 "table/loo_r2": result.loo_r2, "table/spearman": result.spearman, "fallbacks": result.fallbacks,
                 "search/value": result.value, "search/estimate": result.estimate,
                 "search/deviation": result.deviation, "search/checked": result.checked,
                 **{f"search/control/{name}": value for name, value in result.controls.items()},
                 **{f"seconds/{phase}": spent for phase, spent in seconds.items()}}, step=result.labelled)
    run.metrics({f"ap/{name}": value for name, value in result.per_class.items()}, step=result.labelled)
    run.tag("mgral.origin", result.origin)
    for name in ("chosen.jpg", "preannotations.json", "snapshot.json", "result.json"):
        run.artifact(folder / name)
    run.finish()
    study_run(job, tracker).metrics({"map": result.map, "ap50": result.ap50}, step=result.labelled)
    return f"http://127.0.0.1:5000/#/experiments/{tracker.experiment}/runs/{run.run_id}"


def _track_study(job: Job, result: StrategyResult) -> None:
    run = study_run(replace(job, strategy=result.strategy), open_tracker(job))
    run.metrics({"map": result.final.map, "ap50": result.final.ap50, "final/map": result.final.map,
                 "final/ap50": result.final.ap50}, step=result.final.labelled)
    for name in ("learning_curve.png", "table.md", "results.json"):
        run.artifact(job.workspace.report / name)
    run.finish()


def _cycle_markdown(job: Job, result: CycleResult, link: str) -> str:
    folder = job.workspace.cycle(job.strategy, job.cycle).resolve()
    mlflow = f"mlflow ui --backend-store-uri sqlite:///{(job.workspace.mlruns / 'mlflow.db').resolve()}"
    chosen = "\n".join(f"- {image_id}" for image_id in result.chosen)
    return (f"# {job.strategy}, cycle {job.cycle}\n\n"
            f"{result.labelled} labelled: mAP {result.map:.3f}, AP50 {result.ap50:.3f}. {' '.join(remarks(result))}\n\n"
            f"Snapshot {result.snapshot}. Files in `{folder}`. [MLflow run]({link}), once `{mlflow}` runs.\n\n"
            f"## {len(result.chosen)} chosen images ({result.origin})\n\n{chosen}\n")
