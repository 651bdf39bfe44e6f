"""Data sets written down as a mapping from path to content, and what is read of them."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mgral.config import DataConfig
from mgral.data.formats import Loaded, read_dataset
from tests.small_data import save_image

SIZE = (40, 30)
CELL = ("cell", [5, 5, 15, 13])
"""The box that `xml(cell())` and `LINE` have, in an image of this size."""
LINE = "0 0.25 0.3 0.25 0.266666667\n"


def tree(root: Path, files: dict) -> Path:
    """Writes files below `root`: text, bytes, or for an image its size."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            save_image(root / path, *content)
        elif isinstance(content, bytes):
            (root / path).write_bytes(content)
        else:
            (root / path).write_text(content, encoding="utf-8")
    return root


@contextmanager
def folder_of(files: dict):
    """The same in a folder of its own, for tests that hypothesis runs."""
    with TemporaryDirectory() as folder:
        yield tree(Path(folder) / "set", files)


def read(root: Path, **settings) -> Loaded:
    return read_dataset(DataConfig(**settings), root)


def clean(root: Path, **settings) -> Loaded:
    """What is read of a data set in which nothing is wrong."""
    loaded = read(root, **settings)
    assert loaded.problems == ()
    return loaded


def boxes(loaded: Loaded) -> dict:
    """By image: class and rounded corners of each box, or None of an image that is not annotated."""
    dataset = loaded.dataset
    return {image: None if image not in dataset.boxes else [
        (dataset.classes[label], [round(side, 2) for side in xyxy])
        for xyxy, label in zip(dataset.boxes[image].xyxy.tolist(), dataset.boxes[image].labels.tolist(), strict=True)]
        for image in dataset.images}


def splits(loaded: Loaded) -> dict:
    return {name: list(members) for name, members in loaded.dataset.splits.items()}


def noted(loaded: Loaded, text: str) -> bool:
    """Whether a note says so."""
    return any(text in note for note in loaded.notes)


def assert_refused(root: Path, *texts: str, **settings) -> str:
    """The only problem of a data set, which says all of these."""
    problems = read(root, **settings).problems
    assert len(problems) == 1, problems
    for text in texts:
        assert text in problems[0]
    return problems[0]


def corners(xmin, ymin, xmax, ymax) -> str:
    return f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"


def cell(box: str = corners(5, 5, 15, 13), name: str = "cell", more: str = "") -> str:
    return f"<name>{name}</name>{more}{box}"


def xml(*objects: str, size: str = "<size><width>40</width><height>30</height></size>", head: str = "") -> str:
    return f"{head}<annotation>{size}{''.join(f'<object>{part}</object>' for part in objects)}</annotation>"
