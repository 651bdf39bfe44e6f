"""Pascal VOC: one XML file an image, and lists `ImageSets/Main/<split>.txt` of image names where there are such lists.

The XML files lie beside the images or in a folder of their own; without lists, folders called train, valid, val or test
are the splits. A file belongs to the image of its own name: what it says under `<filename>` counts only where there is
none. An image without an XML file is not annotated; an XML file without `<object>` says that nothing is in the image.
`difficult` becomes `ignore`.

Coordinates are read as absolute pixel corners, as most of today's tools write them. The original VOC counts pixels
from 1 and includes the last one; `offset=1` takes 1 from xmin and ymin only, so that (1, 1, width, height) is the
whole image.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml  # to write only

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.coco import turned
from mgral.data.formats.detecting import Found
from mgral.data.formats.folder import composed
from mgral.data.formats.lists import PRESENCE, Pictures, image_of, lines_of, split_lists, stem_of
from mgral.data.formats.names import plain_names
from mgral.data.formats.pairs import add_unannotated, folder_of, pair
from mgral.data.formats.reading import Corners, Given, Reading, number, numbers, shown
from mgral.data.formats.split_names import meaning, split_of
from mgral.data.formats.text import legal
from mgral.files import writing

SIDES = ("xmin", "ymin", "xmax", "ymax")
TURNED = ("cx", "cy", "w", "h", "angle")
"""Of roLabelImg's boxes: centre, sides and angle in radians."""


def read(reading: Reading, found: Found, given: Given, offset: float = 0.0) -> None:
    """Reads all files; adds to the findings whatever is wrong with their form."""
    files = found.files or tuple(reading.folder.ending(".xml"))
    if not files:
        reading.findings.problem(f"{reading.folder.root}: expected Pascal VOC XML files, got none below it; check "
                                 "data.format and data.annotations")
    pictures = Pictures(reading.folder, given.images)
    images, doubtful = pair(reading, pictures, files)
    files = _without_others(reading, files, images, given)
    lost, taken = {stem_of(file) for file in doubtful}, set(images.values())
    for file in files:
        if file not in doubtful and not _read_file(reading, file, images.get(file), taken, offset):
            lost.add(stem_of(file))
    listed = reading.batch is not None or _read_lists(reading, pictures, lost)
    add_unannotated(reading, pictures.names)
    if not listed:
        _split_by_folder(reading, {image: file for file, image in images.items()})
    reading.count_classes()


def _without_others(reading: Reading, files: Sequence[str], images: Mapping[str, str], given: Given) -> list[str]:
    """The files but those of images that are none of the set, as they lie outside the folder that the settings name."""
    stems = Pictures(reading.folder).by_stem if given.images else {}
    others = [file for file in files if file not in images and composed(stem_of(file)) in stems]
    if others:
        reading.findings.note(f"{reading.folder.root}: {len(others)} XML files are of images outside {given.images}, "
                              "which data.images names; they are passed over")
    return [file for file in files if file not in set(others)] if others else list(files)


def _split_by_folder(reading: Reading, annotations: Mapping[str, str]) -> None:
    for image in reading.images:
        split = split_of(image.file_name) or split_of(annotations.get(image.file_name, ""))
        if split:
            reading.split(split, image.file_name)


def _read_file(reading: Reading, file: str, image: str | None, taken: set[str], offset: float) -> bool:
    """Adds the image of an XML file and its boxes; whether there is such an image."""
    path = reading.folder.root / file
    tree = _tree(reading, file)
    if tree is None:
        if image is not None:
            reading.image(image, str(path), annotated=False)
        return image is not None
    if tree.tag != "annotation":
        _pass_over(reading, path, tree.tag, image)
        return True
    image = image or _named_inside(reading, file, tree, taken)
    if image is None:
        return False
    row = reading.image(image, str(path), _size(reading, path, tree))
    for count, element in enumerate(tree.findall("object"), start=1):
        _add_object(reading, row, element, f"{path}: object {count}", offset)
    return True


def _tree(reading: Reading, file: str) -> Xml.Element | None:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    path, findings = reading.folder.root / file, reading.findings
    text = reading.folder.text(file, "readable XML", findings, xml=True)
    if text is None:
        return None
    if not text.strip():
        findings.problem(f"{path}: expected XML, got an empty file; annotate the image again or remove the file",
                         "empty")
        return None
    try:
        return fromstring(text.lstrip(), forbid_dtd=True)
    except Xml.ParseError as error:
        hint = "; an & in a name is written &amp;" if "not well-formed" in str(error) and "&" in text else ""
        findings.problem(f"{path}:{error.position[0]}: expected XML, got {error}; write the file again{hint}", "XML")
    except DefusedXmlException as error:
        findings.problem(f"{path}: expected plain XML, got {type(error).__name__}; remove its DTD and entities", "DTD")
    except (ValueError, LookupError, RecursionError) as error:
        findings.problem(f"{path}: expected readable XML, got {error}; write the file again", "XML")
    return None


def _pass_over(reading: Reading, path: Path, tag: str, image: str | None) -> None:
    got = f"{path}: expected an <annotation>, got <{tag[:80]}>"
    if image is not None:
        reading.findings.problem(f"{got}, though it is called like {image}; take it out of the folder", "no annotation")
        reading.image(image, str(path), annotated=False)
    else:
        reading.findings.note(f"{got}; passed over", "no annotation")


def _named_inside(reading: Reading, file: str, tree: Xml.Element, taken: set[str]) -> str | None:
    """The image that an XML file names, where none is called like it; it counts as missing if that is nowhere too, or
    is another file's (`taken`)."""
    name = (tree.findtext("filename") or "").strip()
    where, folder = f"{reading.folder.root / file}", folder_of(file)
    refused = reading.findings.refused
    image = reading.folder.find(name, (folder, ""), where, reading.findings) if name else None
    if image is not None and image not in taken:
        taken.add(image)
        reading.findings.note(f"{where}: no image is called so; {image}, which its <filename> names, is taken",
                              "image by <filename>")
        return image
    if reading.findings.refused == refused:
        reading.missing.append((f"{stem_of(file)}.*", where))
    return None


def _size(reading: Reading, path: Path, tree: Xml.Element) -> tuple[int, int] | None:
    """Width and height; None where the image file has to say."""
    texts = [(tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    width, height = (number(text or "0") for text in texts)
    if not all(isinstance(side, float) and side.is_integer() for side in (width, height)):
        reading.findings.problem(f"{path}: size: expected 2 whole numbers, got {shown(texts)}; correct them", "size")
    elif min(width, height) <= 0:
        reading.findings.note(f"{path}: width and height {shown(tuple(texts))} are taken from the image file",
                              "size from file")
    else:
        return int(width), int(height)
    return None


def _add_object(reading: Reading, row: int, element: Xml.Element, where: str, offset: float) -> None:
    if _is_set(element, "deleted"):  # LabelMe keeps what was removed
        return
    label = " ".join(line.strip() for line in (element.findtext("name") or "").splitlines()).strip()
    if not label:
        reading.findings.problem(f"{where}: expected a name, got none; name its class", "no name")
        return
    where = f"{where} ({label[:80]})"
    corners = _corners(reading, row, element, where)
    if corners is not None:
        x1, y1, x2, y2 = corners
        reading.box(row, label, (x1 - offset, y1 - offset, x2, y2), where, _is_set(element, "difficult"))


def _is_set(element: Xml.Element, tag: str) -> bool:
    return (element.findtext(tag) or "").strip().lower() in ("1", "1.0", "true", "yes")


def _corners(reading: Reading, row: int, element: Xml.Element, where: str) -> Corners | None:
    """Of the object's own box, never of its parts; the envelope of a rotated box or polygon where it has none."""
    for tag in ("bndbox", "robndbox", "polygon"):
        shape = element.find(tag)
        if shape is not None:
            break
    else:
        reading.findings.problem(f"{where}: expected a <bndbox>, got none; draw the box or remove the object", "no box")
        return None
    if tag == "bndbox":
        return numbers(_values(shape, SIDES), 4, where, reading, row)
    return _of_rotated(reading, row, shape, where) if tag == "robndbox" else _of_polygon(reading, row, shape, where)


def _of_rotated(reading: Reading, row: int, shape: Xml.Element, where: str) -> Corners | None:
    values = numbers(_values(shape, TURNED), 5, where, reading, row)
    if values is None:
        return None
    x, y, width, height, angle = values
    if abs(angle) > 2 * math.pi:
        reading.findings.problem(f"{where}: expected an angle in radians, got {angle:g}; correct it", "angle")
        return None
    reading.findings.note(f"{where}: box rotated by {angle:g} radians: its upright envelope is taken", "rotated box")
    return turned((x - width / 2, y - height / 2, x + width / 2, y + height / 2), math.degrees(angle))


def _of_polygon(reading: Reading, row: int, shape: Xml.Element, where: str) -> Corners | None:
    """Points are `<pt><x>…<y>…` (LabelMe) or `<x1><y1><x2>…` (Roboflow)."""
    sides = [[number((part.text or "").strip()) for part in shape.iter() if part.tag.rstrip("0123456789") == side]
             for side in ("x", "y")]
    points = numbers(sides[0] + sides[1], max(2 * len(sides[0]), 4), where, reading, row)
    if points is None:
        return None
    reading.findings.note(f"{where}: no <bndbox>: the envelope of its polygon is taken", "polygon")
    xs, ys = points[:len(sides[0])], points[len(sides[0]):]
    return min(xs), min(ys), max(xs), max(ys)


def _values(shape: Xml.Element, tags: Sequence[str]) -> list[float | str]:
    return [number((shape.findtext(tag) or "").strip()) for tag in tags]


def _read_lists(reading: Reading, pictures: Pictures, lost: set[str]) -> bool:
    """Adds the splits that lists name; whether there are such lists."""
    lists = _lists(reading, pictures)
    for base, path in lists:
        name, lines = stem_of(path), list(lines_of(reading, path))
        of_class = _split_of_class_list(name, [line for _, line in lines])
        if of_class and f"{folder_of(path)}/{of_class}.txt" in reading.folder.files:
            continue
        members = reading.splits.setdefault(of_class or name, [])
        for where, line in lines:
            image = image_of(reading, pictures, line, (f"{base}JPEGImages", base.rstrip("/")), where, lost)
            if image is not None:
                members.append(image)
                if reading.row(image) is None:
                    reading.image(image, where, annotated=False)
    return bool(lists)


def _lists(reading: Reading, pictures: Pictures) -> list[tuple[str, str]]:
    """The lists of a split each, with the folder that `ImageSets` lies in: those of `ImageSets/Main`, or in
    `ImageSets` itself, or lists of images that are called as splits are."""
    texts = [(name, name.lower().rpartition("imagesets/")) for name in reading.folder.ending(".txt")]
    sets = [(name[:len(base)], name, rest) for name, (base, inner, rest) in texts if inner]
    main = [(base, name) for base, name, rest in sets if rest.startswith("main/")]
    flat = [(base, name) for base, name, rest in sets if "/" not in rest]
    return main or flat or [(f"{folder_of(name)}/".lstrip("/"), name) for name in split_lists(reading, pictures)]


def _split_of_class_list(name: str, lines: Iterable[str]) -> str | None:
    """The split of VOC's lists a class, such as `cat_train.txt` with a column of -1, 0 and 1: no split of their own."""
    of_class, _, split = name.rpartition("_")
    is_split = meaning(split) or split.lower() == "trainval"
    columns = [line.rsplit(None, 1)[1:] for line in lines]
    return split if of_class and is_split and columns and all(c and c[0] in PRESENCE for c in columns) else None


def write_voc(folder: Path, dataset: Dataset, splits: Mapping[str, Sequence[ImageId]], offset: float = 0.0) -> None:
    """Writes images, boxes and lists; an image that is not annotated gets no XML file.

    Raises:
        ValueError: two images that would have the same name, see `plain_names`.
    """
    names = plain_names([image_id for split in splits.values() for image_id in split])
    for image_id, name in names.items():
        target = folder / "JPEGImages" / f"{name}{dataset.path(image_id).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.path(image_id), target)
        if image_id in dataset.boxes:
            _write_text(folder / "Annotations" / f"{name}.xml", _xml(dataset, image_id, target.name, offset))
    for split, members in splits.items():
        lines = "".join(f"{names[image_id]}\n" for image_id in members)
        _write_text(folder / "ImageSets" / "Main" / f"{split}.txt", lines)


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
        Xml.SubElement(parent, tag).text = legal(str(text))


def _write_text(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
