"""`mgral init`: looks at a folder and writes a params file that fits it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from mgral.errors import ConfigError, DataError


def add(commands) -> None:
    what = "look at a folder of images and write a params.yaml that fits it"
    made = commands.add_parser("init", help=what, description=what[0].upper() + what[1:] + ".")
    made.set_defaults(work=_init)
    made.add_argument("folder", type=Path, nargs="?", default=Path("."), help="the data set's folder (default: .)")
    made.add_argument("--annotations", metavar="FILE", action="append",
                      help="an annotation file; several times for several")
    made.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                      help="the file to write; it must not be there yet (default: params.yaml)")
    made.add_argument("--workdir", type=Path, default=Path("."), metavar="DIR",
                      help="where runs/ will lie; what was read of the images is kept there (default: .)")


def _init(options: Namespace) -> None:
    from mgral.config import DataConfig
    from mgral.files import writing
    from mgral.study.proposal import as_yaml, in_words, propose

    if options.params.exists():
        raise ConfigError(f"{options.params}: expected no file yet, got one; init overwrites nothing: give --params "
                          "another name, or `mgral check` to look at the data set that it describes")
    data = DataConfig(annotations=tuple(map(_absolute, options.annotations or ())) or None)
    loaded, data = _read(data, options)
    if loaded.problems:
        raise DataError(*loaded.problems)
    print("\n".join(in_words(loaded, _copies(loaded, options))))
    proposal = propose(loaded, options.folder, data, _has_gpu())
    with writing(options.params) as temporary:
        temporary.write_text(as_yaml(proposal, loaded.dataset.classes), encoding="utf-8")
    detector, study = proposal.config.detector, proposal.config.study
    given = "" if options.params == Path("params.yaml") else f" --params {options.params}"
    print(f"Wrote {options.params}: detector {detector.preset} at {detector.image_size} px, {study.cycles} cycles of "
          f"{study.budget} images.\n  next: mgral check{given}")


def _read(data, options: Namespace):
    """The data set; with faulty boxes repaired where that is all that is wrong with it."""
    from mgral.data.formats import read_dataset
    from mgral.progress import current
    from mgral.study.workspace import Workspace

    cache = Workspace(options.workdir, "init", 0).heads
    loaded = read_dataset(data, options.folder, cache, current.get().report("looking at images"))
    if loaded.problems:
        repairing = data.model_copy(update={"invalid_boxes": "repair"})
        repaired = read_dataset(repairing, options.folder, cache)
        if not repaired.problems:
            loaded, data = repaired, repairing
    for note in loaded.notes[1:]:  # the first says the format, as the summary does
        current.get().note(note)
    return loaded, data


def _copies(loaded, options: Namespace) -> int:
    """Images that are copies of another."""
    from mgral.data.copies import find_copies
    from mgral.progress import current
    from mgral.study.workspace import Workspace

    cache = Workspace(options.workdir, "init", 0).heads
    groups = find_copies(loaded, cache, current.get().report("looking for copies"))
    return sum(len(group) - 1 for group in groups)


def _absolute(name: str) -> str:
    """As given from here, since a params file names it from the data folder."""
    return str(Path(name).resolve())


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
