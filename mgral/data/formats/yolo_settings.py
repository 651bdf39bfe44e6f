"""What says which classes and splits a YOLO data set has: a YAML file, darknet's `.data` file, or a list of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from mgral.data.formats.class_names import class_names, names_in_list, names_of_lists
from mgral.data.formats.lists import Pictures, image_of, lines_of, split_lists, stem_of
from mgral.data.formats.reading import Reading, shown
from mgral.data.formats.split_names import meaning, split_meaning
from mgral.errors import ConfigError
from mgral.findings import Findings
from mgral.yaml import read_yaml

NO_SPLITS = frozenset({"path", "names", "nc", "download", "yaml_file", "task", "kpt_shape", "flip_idx", "channels"})
"""Keys of the YAML file that name no images."""


@dataclass
class Settings:
    """`names` of the classes from number 0 on, None if they cannot be used; the images of each split; how many numbers
    of keypoints follow a box."""

    names: tuple[str, ...] | None
    splits: dict[str, list[str]] = field(default_factory=dict)
    keypoints: int = 0


def settings_of(reading: Reading, pictures: Pictures, files: Sequence[str]) -> Settings | None:
    """What the files say, or None and a problem."""
    described = [file for file in files if file.lower().endswith((".yaml", ".yml"))]
    if described:
        return _chosen(reading, pictures, described)
    darknet = [file for file in files if file.lower().endswith(".data")]
    if darknet:
        return _of_darknet(reading, pictures, darknet[0])
    names = names_of_lists(reading, files)
    if reading.batch is not None:
        return Settings(names)
    lost: set[str] = set()
    return Settings(names, {stem_of(path): list(_listed(reading, pictures, path, (), lost))
                            for path in split_lists(reading, pictures)})


def _chosen(reading: Reading, pictures: Pictures, files: Sequence[str]) -> Settings | None:
    """Of several YAML files the one whose splits are there."""
    contents = {file: _content(reading, file) for file in files}
    there = [file for file, content in contents.items() if any(_exists(reading, file, content, key) for key in content)]
    if len(there) > 1 and len({repr(sorted(contents[file].items(), key=str)) for file in there}) == 1:
        there = there[:1]
    chosen = there or (list(files) if len(files) == 1 else [])
    if len(chosen) != 1:
        reading.findings.problem(f"{reading.folder.root}: expected one YAML file of a YOLO data set, got "
                                 f"{', '.join((chosen or list(files))[:4])}; name the right one in data.annotations")
        return None
    others = [file for file in files if file != chosen[0]]
    if others:
        reading.findings.note(f"{reading.folder.root}: {chosen[0]} is read; {', '.join(others[:3])} "
                              f"{'is' if len(others) == 1 else 'are'} passed over")
    content = contents[chosen[0]]
    return _of_yaml(reading, pictures, chosen[0], content) if content else None


def _content(reading: Reading, file: str) -> dict[str, Any]:
    path = reading.folder.root / file
    text = reading.folder.text(file, "YOLO's YAML file", reading.findings)
    content = yaml_of(path, text, reading.findings) if text is not None else None
    if content is None:
        return {}
    if not isinstance(content, dict):
        reading.findings.problem(f"{path}: expected settings such as `names:`, got {type(content).__name__}; write it "
                                 "again")
        return {}
    return {str(key): value for key, value in content.items()}


def yaml_of(path: Path, text: str, findings: Findings) -> Any:
    """What a YAML text says, or None and a problem."""
    try:
        content = read_yaml(text, str(path))
    except ConfigError as error:
        for problem in error.problems:
            findings.problem(problem, "YAML")
        return None
    if content is None:
        findings.problem(f"{path}: expected settings such as `names:`, got an empty file; write it again")
    return content


def _of_yaml(reading: Reading, pictures: Pictures, file: str, content: Mapping[str, Any]) -> Settings:
    path, findings = reading.folder.root / file, reading.findings
    settings = Settings(class_names(path, content, findings))
    shape = content.get("kpt_shape")
    if isinstance(shape, list) and shape and all(isinstance(side, int) and 0 < side < 10_000 for side in shape):
        settings.keypoints = prod(shape[:2])
    if reading.batch is not None:
        return settings
    if isinstance(content.get("path"), str) and not _base(reading, file, content):
        findings.note(f"{path}: path: {content['path']!r} is not there; what the file names is looked for from its own "
                      "folder on")
    lost: set[str] = set()
    for key, value in content.items():
        places = [value] if isinstance(value, str) else value
        if key in NO_SPLITS or value in (None, "", []):
            continue
        if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
            if meaning(key):
                findings.problem(f"{path}: {key}: expected a folder of images or a list of them, got {shown(value)}; "
                                 "correct it")
        elif meaning(key) or _exists(reading, file, content, key):
            settings.splits[key] = [name for place in places
                                    for name in _members(reading, pictures, file, content, key, place, lost)]
    return settings


def _members(reading: Reading, pictures: Pictures, file: str, content: Mapping[str, Any], key: str, place: str,
             lost: set[str]) -> list[str]:
    """The images at a place that the YAML file names, a folder or a list."""
    where = f"{reading.folder.root / file}: {key}"
    path = _resolved(reading, file, content, place, where)
    if path is None:
        line = (f"{where}: expected a folder of images or a list of them below {reading.folder.root}, got {place!r}, "
                "which is not there")
        if meaning(key) == "test":  # which exports name whether they have it or not
            reading.findings.note(f"{line}: there is no such split")
        else:
            reading.findings.problem(f"{line}; correct it or take the line out", "no place")
        return []
    if path in reading.folder.files:
        base = _base(reading, file, content) or ""
        return list(_listed(reading, pictures, path, (base, _folder_of(file)), lost))
    name = PurePosixPath(place.replace("\\", "/")).name
    inside = reading.folder.images_in(path)
    if "*" in name:
        inside = [image for image in inside if fnmatchcase(PurePosixPath(image).name, name)]
    if not inside:
        reading.findings.problem(f"{where}: expected images in {reading.folder.root / path}, got none; restore them or "
                                 "take the line out", "no images")
    return inside


def _listed(reading: Reading, pictures: Pictures, path: str, places: Sequence[str], lost: set[str]) -> Iterator[str]:
    """The images of a list. Names that begin with `./` count from the list's folder, others from the set's first."""
    beside = _folder_of(path)
    for where, line in lines_of(reading, path):
        order = (beside, *places) if line.startswith("./") else (*places, beside)
        image = image_of(reading, pictures, line, order, where, lost)
        if image is not None:
            yield image


def _exists(reading: Reading, file: str, content: Mapping[str, Any], key: str) -> bool:
    """Whether a key names places that are there, for splits of the usual names after repair."""
    value = content[key]
    places = [value] if isinstance(value, str) else value
    if key in NO_SPLITS or not places or not isinstance(places, list) or not all(isinstance(p, str) for p in places):
        return False
    find = _resolved if meaning(key) else _as_written
    return all(find(reading, file, content, place) is not None for place in places)


def _base(reading: Reading, file: str, content: Mapping[str, Any]) -> str | None:
    """The folder that `path` names, if it is there."""
    base = content.get("path")
    if not isinstance(base, str):
        return None
    base = base.replace("\\", "/")
    for start in (_folder_of(file), ""):
        path = reading.folder.below(_join(start, base))
        if path is not None and reading.folder.is_folder(path):
            return path
    return None


def _as_written(reading: Reading, file: str, content: Mapping[str, Any], place: str,
                endings: tuple[str, ...] = (".txt",)) -> str | None:
    """The path below the root of a place, counted from `path`, the file's folder or the root."""
    written = _without_pattern(place.strip().replace("\\", "/"))
    for base in (_base(reading, file, content), _folder_of(file), ""):
        path = reading.folder.below(_join(base, written)) if base is not None else None
        if path is not None and _is_there(reading, path, endings):
            return path
    return None


def _resolved(reading: Reading, file: str, content: Mapping[str, Any], place: str, where: str = "",
              endings: tuple[str, ...] = (".txt",)) -> str | None:
    """The same, or without leading parts that are not there while the rest is: other machines' paths, a project's
    folder, `../`. What was dropped is noted if it is said `where`."""
    path = _as_written(reading, file, content, place, endings)
    if path is not None:
        return path
    written = _without_pattern(place.strip().replace("\\", "/"))
    base = content.get("path")
    whole = _join(base.replace("\\", "/"), written) if isinstance(base, str) else written
    for name in dict.fromkeys((whole, written)):
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        for tail in ("/".join(parts[row:]) for row in range(len(parts))):
            for start in (_folder_of(file), ""):
                path = reading.folder.below(_join(start, tail))
                if path is not None and _is_there(reading, path, endings) and _of_split(name) == _of_split(tail):
                    if where:
                        reading.findings.note(f"{where}: {place!r} was taken for {path!r}", "place by tail")
                    return path
    return None


def _of_split(name: str) -> str | None:
    return split_meaning(f"{name}/_") or meaning(PurePosixPath(name).stem)


def _is_there(reading: Reading, path: str, endings: tuple[str, ...]) -> bool:
    return reading.folder.is_folder(path) or (path in reading.folder.files and path.lower().endswith(endings))


def _without_pattern(place: str) -> str:
    """`images/train/*.jpg` is the folder `images/train`."""
    return place.rpartition("/")[0] or "." if "*" in place.rpartition("/")[2] else place


def _join(base: str, place: str) -> str:
    return place if place.startswith("/") or base in ("", ".") else f"{base}/{place}"


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _of_darknet(reading: Reading, pictures: Pictures, file: str) -> Settings:
    """darknet's `.data` file: lines `classes = 2`, `names = data/obj.names`, `train = data/train.txt`."""
    pairs = {key.strip(): value.strip() for _, line in lines_of(reading, file)
             for key, _, value in [line.partition("=")] if value.strip()}
    path, lost = reading.folder.root / file, set()
    wanted = pairs.get("names")
    named = _resolved(reading, file, {}, wanted, f"{path}: names", (".names", ".txt")) if wanted else None
    names = None
    if named is None:
        reading.findings.problem(f"{path}: names: expected a file with a class name a line, got "
                                 f"{wanted!r}, which is not there; correct it")
    else:
        names = names_in_list(reading, named)
    if names is not None and pairs.get("classes", str(len(names))) != str(len(names)):
        reading.findings.problem(f"{path}: classes: expected {len(names)}, as {named} names so many, got "
                                 f"{pairs['classes']!r}; correct one of them")
    if reading.batch is not None:
        return Settings(names)
    return Settings(names, {key: _members(reading, pictures, file, {}, key, value, lost)
                            for key, value in pairs.items() if meaning(key)})
