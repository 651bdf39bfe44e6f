"""What a run would do, before it does it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

from mgral.errors import ConfigError
from mgral.study.opened import Job, open_study
from tasks.prepare import Prepared


def planned_work(job: Job) -> Counter[str]:
    """Units of work by kind, as `mgral.study.progress` counts them; the first detector serves every strategy."""
    config, study, splits = job.config, job.config.study, open_study(job).splits
    strategies = (study.strategy, *study.baselines)
    detectors = 1 + study.cycles * len(strategies)
    work = Counter(train=config.training.steps * detectors, test=len(splits.test) * detectors,
                   inspect=(len(splits.pool) + len(splits.labelled)) * study.cycles * len(strategies))
    if "mgral" in strategies:
        experiments = config.table.records + min(config.table.repeats, config.table.records) + config.search.check
        work.update(experiment=experiments * study.cycles,
                    search=config.search.iterations * study.cycles)
        work["true gain"] = study.true_gains * study.cycles
        if config.table.source != "semisupervised":  # a detector of half of the labels
            work.update(train=config.training.steps * study.cycles)
        if config.table.source == "labelled":  # and what it sees
            work.update(inspect=(len(splits.pool) + len(splits.labelled)) * study.cycles)
    return work


def in_words(job: Job, prepared: Prepared) -> str:
    """The plan of a study, a few lines for people."""
    config, study = job.config, job.config.study
    lines = [
        f"study {study.name}: {study.strategy} against {', '.join(study.baselines) or 'nothing'}, "
        f"{study.cycles} cycles of {study.budget} images, seed {config.seed}",
        f"data: {prepared.labelled} labelled, {prepared.pool} in the pool, {prepared.reward} to measure rewards on, "
        f"{prepared.test} to test on; first snapshot {prepared.snapshot}",
        f"detector: {config.detector.config or config.detector.preset} at {config.detector.image_size} px, "
        f"{config.training.steps} steps of {config.training.batch_size}"]
    if "mgral" in (study.strategy, *study.baselines):
        table = config.table
        lines.append(f"table: {table.records + table.repeats} experiments a cycle ({table.design} design, "
                     f"{table.repeats} of them repeats), source {table.source}, reward {table.reward}; search: "
                     f"{config.search.iterations} iterations"
                     f"{', if the table can guide one' if config.search.trust == 'auto' else ''}")
    return "\n".join(lines)


def check_stages(job: Job) -> None:
    """Checks that dvc.yaml, where there is one beside the params file, has a stage for every cycle.

    Raises:
        ConfigError: stages are missing or left over.
    """
    path = job.params.parent / "dvc.yaml"
    if job.params.name != "params.yaml" or not path.exists():
        return
    study = job.config.study
    numbers = range(1, study.cycles + 1)
    wanted = {f"cycle@{number}" for number in numbers}
    wanted |= {f"baseline@{strategy}-{number}" for strategy in study.baselines for number in numbers}
    got = _stages(path)
    if wanted != got:
        raise ConfigError(f"{path}: expected the stages {', '.join(sorted(wanted))} (study.* in {job.params}), "
                          f"missing {', '.join(sorted(wanted - got)) or 'none'}, left over "
                          f"{', '.join(sorted(got - wanted)) or 'none'}; `dvc repro` follows dvc.yaml: edit it")


def _stages(path: Path) -> set[str]:
    stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    return {f"{group}@{key}" for group in ("cycle", "baseline") for key in stages.get(group, {}).get("foreach", ())}
