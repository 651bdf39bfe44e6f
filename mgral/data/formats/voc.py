"""Pascal VOC: `JPEGImages`, `Annotations` (one XML file an image) and `ImageSets/Main/<split>.txt` (one name a line).

Coordinates are read as absolute pixel corners, as most of today's tools write them. The original VOC counts pixels
from 1 and includes the last one; `offset=1` takes 1 from xmin and ymin only, so that (1, 1, width, height) is the
whole image. `difficult` becomes `ignore`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml  # to write only

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.source import ENDINGS, Folder, Source, SourceBox, SourceImage, number, numbers, text_of
from mgral.files import writing

FOLDERS = ("Annotations", "ImageSets/Main", "JPEGImages")


def read(root: Path, pool: str, measured: Sequence[str], problems: list[str], offset: float = 0.0) -> Source:
    """Reads the splits' files; the layout may lie in the only sub-folder of `root` that has it.

    An image of the pool without XML is not annotated; one of the other splits is a fault.
    """
    root = _layout(root, problems)
    if root is None:
        return Source(Path(), {}, ())
    folder, files, images = Folder(root), _image_files(root / "JPEGImages", problems), []
    for split in (pool, *measured):
        for where, name in _names(root / "ImageSets" / "Main" / f"{split}.txt", problems):
            image = _image(folder, files, where, name, split, offset, problems)
            images += [image] if image else []
            if image and image.boxes is None and split != pool:
                problems.append(f"{where}: expected {root / 'Annotations' / name}.xml, as {split!r} must be "
                                "annotated, got nothing there; annotate the image or take it out")
    names = sorted({box.label for image in images for box in image.boxes or ()})
    return Source(root, {name: row for row, name in enumerate(names, start=1)}, tuple(images))


def write_voc(folder: Path, dataset: Dataset, splits: Mapping[str, Sequence[ImageId]], offset: float = 0.0) -> None:
    """Writes images, boxes and lists; an image that is not annotated gets no XML file.

    A slash in an image id becomes an underscore, as names of VOC images have none.

    Raises:
        ValueError: two images that would have the same name.
    """
    ids = [image_id for split in splits.values() for image_id in split]
    names = {image_id: image_id.replace("/", "_") for image_id in ids}
    if len(set(names.values())) < len(ids):
        raise ValueError("expected images with names of their own, got the same name twice")
    for image_id, name in names.items():
        target = folder / "JPEGImages" / f"{name}{dataset.path(image_id).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.path(image_id), target)
        if image_id in dataset.boxes:
            _write_text(folder / "Annotations" / f"{name}.xml", _xml(dataset, image_id, target.name, offset))
    for split, members in splits.items():
        lines = "".join(f"{names[image_id]}\n" for image_id in members)
        _write_text(folder / "ImageSets" / "Main" / f"{split}.txt", lines)


def _layout(root: Path, problems: list[str]) -> Path | None:
    candidates = [folder for folder in (root, *sorted(root.iterdir()))
                  if all((folder / name).is_dir() for name in FOLDERS)]
    if root in candidates or len(candidates) == 1:
        return candidates[0]
    got = "none" if not candidates else ", ".join(folder.name for folder in candidates)
    problems.append(f"{root}: expected {', '.join(FOLDERS)} in it or in one sub-folder, got {got}; check --data")
    return None


def _image_files(folder: Path, problems: list[str]) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in ENDINGS):
        if path.stem in files:
            problems.append(f"{path}: expected one image a name, got {files[path.stem]} too; remove one")
        files[path.stem] = path.name
    return files


def _names(path: Path, problems: list[str]) -> Iterable[tuple[str, str]]:
    text = text_of(path, "a list of image names", problems)
    for line, name in enumerate((text or "").splitlines(), start=1):
        if name.strip():
            yield f"{path}:{line}", name.strip()


def _image(folder: Folder, files: Mapping[str, str], where: str, name: str, split: str, offset: float,
           problems: list[str]) -> SourceImage | None:
    path = folder.root / "Annotations" / f"{name}.xml"
    if "/" in name or "\\" in name or f"Annotations/{name}.xml" not in folder:
        problems.append(f"{where}: expected the name of an image inside {folder.root}, got {name!r}; "
                        "write the name without folder and ending, and copy what is linked")
        return None
    if name not in files:
        problems.append(f"{where}: expected an image {name}.* in {folder.root / 'JPEGImages'}, got none; "
                        "restore it or take the name out")
        return None
    file_name = f"JPEGImages/{files[name]}"
    if not path.exists():
        return SourceImage(where, name, file_name, split, None)
    tree = _tree(path, problems)
    boxes = _boxes(path, tree, offset, problems) if tree is not None else ()
    size = _size(path, tree, problems) if tree is not None else None
    return SourceImage(str(path) if size else where, name, file_name, split, boxes, size)


def _tree(path: Path, problems: list[str]) -> Xml.Element | None:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(path.read_bytes(), forbid_dtd=True)
    except Xml.ParseError as error:
        problems.append(f"{path}:{error.position[0]}: expected XML, got {error}; write the file again")
    except DefusedXmlException as error:
        problems.append(f"{path}: expected plain XML, got {type(error).__name__}; remove its DTD and entities")
    except (OSError, ValueError, LookupError) as error:
        problems.append(f"{path}: expected readable XML, got {error}; write the file again")
    return None


def _boxes(path: Path, tree: Xml.Element, offset: float, problems: list[str]) -> tuple[SourceBox, ...]:
    boxes = []
    for row, element in enumerate(tree.findall("object"), start=1):
        label = (element.findtext("name") or "").strip()
        where = f"{path}: object {row} ({label})"
        texts = [element.findtext(f"bndbox/{side}") or "" for side in ("xmin", "ymin", "xmax", "ymax")]
        corners = numbers([number(text) for text in texts], 4, where, problems)
        if not label:
            problems.append(f"{where}: expected a name, got none; name its class")
        elif corners:
            x1, y1, x2, y2 = corners
            boxes.append(SourceBox(where, label, (x1 - offset, y1 - offset, x2, y2),
                                   (element.findtext("difficult") or "0").strip() == "1"))
    return tuple(boxes)


def _size(path: Path, tree: Xml.Element, problems: list[str]) -> tuple[int, int] | None:
    if tree.find("size") is None:
        return None
    texts = [tree.findtext(f"size/{side}") or "" for side in ("width", "height")]
    size = numbers([number(text) for text in texts], 2, f"{path}: size", problems)
    return (int(size[0]), int(size[1])) if size else None


def _xml(dataset: Dataset, image_id: ImageId, file_name: str, offset: float) -> str:
    image, boxes = dataset.images[image_id], dataset.boxes[image_id]
    root = Xml.Element("annotation")
    _add(root, {"folder": "JPEGImages", "filename": file_name})
    _add(Xml.SubElement(root, "size"), {"width": image.width, "height": image.height, "depth": 3})
    for xyxy, label, ignore in zip(boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.ignore.tolist(), strict=True):
        element = Xml.SubElement(root, "object")
        _add(element, {"name": dataset.classes[label], "pose": "Unspecified", "truncated": 0,
                       "difficult": int(ignore)})
        x1, y1, x2, y2 = xyxy
        corners = {"xmin": x1 + offset, "ymin": y1 + offset, "xmax": x2, "ymax": y2}
        _add(Xml.SubElement(element, "bndbox"), {side: f"{value:.9g}" for side, value in corners.items()})
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _add(parent: Xml.Element, texts: Mapping[str, object]) -> None:
    for tag, text in texts.items():
        Xml.SubElement(parent, tag).text = str(text)


def _write_text(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
