"""`mgral export`: the batch of a cycle for another annotation tool."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from flows.arguments import add_cycle, as_given, command, job_from


def add(commands) -> None:
    made = command(commands, "export", _export,
                   "write the batch of a cycle, with the boxes that it went out with, for an annotation tool")
    add_cycle(made, "which cycle (default: the one that waits, else the last)")
    made.add_argument("--to", required=True, metavar="FORMAT",
                      help="label-studio, cvat (CVAT for images 1.1), cvat-coco, coco, voc or yolo")
    made.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: "
                      "runs/STUDY/seed-S/export/STRATEGY-N-FORMAT); another batch is never written over")


def _export(options: Namespace) -> None:
    from mgral.annotation.preannotations import FORMATS
    from mgral.errors import ConfigError

    if options.to not in FORMATS:
        raise ConfigError(f"--to: expected one of {', '.join(FORMATS)}, got {options.to}")
    job = job_from(options, first=0)
    from mgral.errors import DataError
    from mgral.report.export import RECORD, export_in_words, write_export
    from mgral.report.folders import check_folder
    from mgral.study.batches import batch_files
    from mgral.study.labels import with_labels
    from mgral.study.preparation import load_data

    space, study = job.workspace, job.config.study
    folder = options.out or space.export(job.strategy, job.cycle, options.to)
    check_folder(folder, RECORD)
    loaded = load_data(job.config.data, space, job.data)
    if loaded.problems:
        raise DataError(*loaded.problems)
    dataset, batch = with_labels(space, loaded.dataset), batch_files(space, job.strategy, job.cycle)
    choice, detections = batch.choice().ranked(), batch.proposed(dataset)
    info = {"study": study.name, "strategy": job.strategy, "seed": job.seed, "cycle": job.cycle}
    written = write_export(folder, options.to, dataset, choice, detections, info)
    which = f"cycle {job.cycle} of {job.label}" if job.cycle else "the first batch"
    print(f"{which}: {len(choice.ids)} images, {sum(map(len, detections.values()))} boxes, as {options.to}")
    print("\n".join(export_in_words(written, options.to, dataset)))
    print(f"  next: mgral import{as_given(options)}{job.options} --cycle {job.cycle} FILE")
