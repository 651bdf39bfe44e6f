"""Which image of the batch is meant, whatever a tool has made of its name; and when none is."""

import json
import unicodedata
from pathlib import PurePosixPath

import pytest

from mgral.annotation.returned import read_returned
from mgral.errors import DataError
from tests.annotation.annotators import came_back, data_set, detections

NAME = "images/Décran (1).jpg"
BATCH = (NAME, "cam1/0001.jpg", "plain.png")
OTHERS = ("cam2/0001.jpg", "cam3/other.jpg")
SIZE = (60, 40)
HASH = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def dataset(tmp_path):
    return data_set(tmp_path / "data", dict.fromkeys((*BATCH, *OTHERS), SIZE))


def one(kind, path):
    """A batch of one image with a box."""
    dataset = data_set(path / "one", {"plain.png": SIZE})
    return came_back(kind, path, dataset, ["plain.png"], {"plain.png": detections(((1, 2, 30, 20), 1))})


def as_coco(path, name):
    content = json.loads(one("coco", path).read_text())
    content["images"] = [{"id": 1, "file_name": name, "width": 60, "height": 40}]
    (path / "a.json").write_text(json.dumps(content))
    return path / "a.json"


def as_cvat(path, name):
    file = one("cvat", path)
    file.write_text(file.read_text().replace("plain.png", name.replace("&", "&amp;")))
    return file


def as_tasks(path, name):
    file = one("label-studio", path)
    tasks = json.loads(file.read_text())
    tasks[0]["data"] = {"image": name}
    file.write_text(json.dumps(tasks))
    return file


def as_label_file(kind, path, name):
    """A file of its own, called like the image."""
    folder = one(kind, path)
    file = next(file for file in folder.rglob("plain.*") if file.suffix in (".xml", ".txt"))
    target = file.parent / PurePosixPath(name).with_suffix(file.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    file.rename(target)
    return folder


def meant(path, dataset, ids=BATCH):
    returned = read_returned(path, dataset, ids)
    image_id, = returned.boxes
    assert returned.boxes[image_id].labels.tolist() == [1]
    return image_id


@pytest.mark.parametrize("write", [as_coco, as_cvat, as_tasks])
@pytest.mark.parametrize("name", [
    NAME, NAME.replace("/", "\\"), "images/D%C3%A9cran%20%281%29.jpg", unicodedata.normalize("NFD", NAME),
    "images/cb0618f6-Décran_1.jpg", "cb0618f6-Décran (1).jpg", "/data/upload/4/cb0618f6-Décran_1.jpg",
    "/data/local-files/?d=images/D%C3%A9cran%20%281%29.jpg", f"D-cran-1-_jpg.rf.{HASH}.jpg".replace("D-c", "Déc"),
    "Décran (1).jpg", "/elsewhere/images/Décran (1).jpg", "images/DÉCRAN (1).JPG"])
def test_names_that_tools_change(tmp_path, dataset, write, name):
    assert meant(write(tmp_path, name), dataset) == NAME


@pytest.mark.parametrize("kind", ["voc", "yolo"])
@pytest.mark.parametrize("name", [
    "Décran (1).jpg", "images/Décran (1).jpg", unicodedata.normalize("NFD", "Décran (1).jpg"), "cb0618f6-Décran_1.jpg",
    "cb0618f6-Décran (1).jpg", f"Décran-1-_jpg.rf.{HASH}.jpg", "obj_train_data/images/Décran (1).jpg",
    "Décran (1).jpg.jpg"])
def test_names_of_files_of_one_image(tmp_path, dataset, kind, name):
    assert meant(as_label_file(kind, tmp_path, name), dataset) == NAME


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_one_of_two_of_one_name_is_that_of_the_batch(tmp_path, dataset, kind):
    assert meant(as_label_file(kind, tmp_path / "1", "0001.jpg"), dataset) == "cam1/0001.jpg"
    assert meant(as_label_file(kind, tmp_path / "2", "cam1/0001.jpg"), dataset) == "cam1/0001.jpg"
    with pytest.raises(DataError, match="expected images of the batch .* got 1 others"):
        read_returned(as_label_file(kind, tmp_path / "3", "cam2/0001.jpg"), dataset, BATCH)


@pytest.mark.parametrize("write", [as_coco, as_cvat, as_tasks])
def test_a_file_in_another_folder_is_another_image(tmp_path, dataset, write):
    assert meant(write(tmp_path, "0001.jpg"), dataset) == "cam1/0001.jpg"
    for name in ("cam2/0001.jpg", "/data/cam2/0001.jpg", "cam2\\0001.jpg", "/data/local-files/?d=cam2/0001.jpg"):
        with pytest.raises(DataError, match=r"expected images of the batch .* got 1 others"):
            read_returned(write(tmp_path, name), dataset, BATCH)
    both = ("cam1/0001.jpg", "cam2/0001.jpg")
    with pytest.raises(DataError, match=r"'0001.jpg', which could be 'cam1/0001.jpg' or 'cam2/0001.jpg'"):
        read_returned(write(tmp_path, "0001.jpg"), dataset, both)


@pytest.mark.parametrize("write", [as_coco, as_cvat, as_tasks])
def test_what_is_written_counts_before_what_may_be_meant(tmp_path, write):
    names = ("deadbeef-a.jpg", "a.jpg", "a b.jpg", "a%20b.jpg", "x/a.jpg", " a.jpg")
    dataset = data_set(tmp_path / "data", dict.fromkeys(names, SIZE))
    for name in names:
        assert meant(write(tmp_path, name), dataset, names) == name or (write is as_tasks and name == " a.jpg")
        rest = [other for other in names if other != name]
        if not (write is as_tasks and name == " a.jpg"):
            with pytest.raises(DataError, match="got 1 others"):
                read_returned(write(tmp_path, name), dataset, rest)


@pytest.mark.parametrize("write", [as_coco, as_cvat, as_tasks])
def test_subfolders_of_the_file_count_for_nothing(tmp_path, write):
    """A name is below the data folder, not below one that is called as the file or its split."""
    names = ("a.jpg", "images/a.jpg", "train/a.jpg", "annotations/a.jpg")
    dataset = data_set(tmp_path / "data", dict.fromkeys(names, SIZE))
    (tmp_path / "annotations").mkdir()
    path = write(tmp_path, "a.jpg")
    target = path.rename(tmp_path / "annotations" / f"instances_train{path.suffix}")
    assert meant(target, dataset, names) == "a.jpg"


@pytest.mark.parametrize("write", [as_coco, as_cvat, as_tasks])
def test_a_name_that_fits_several_is_that_of_the_batch_if_it_fits_as_well(tmp_path, write):
    names = ("a.jpg", "x/a.jpg", "p/cam/a.jpg", "q/cam/a.jpg")
    dataset = data_set(tmp_path / "data", dict.fromkeys(names, SIZE))
    for name in ("/elsewhere/a.jpg", "cb0618f6-a.jpg", f"a_jpg.rf.{HASH}.jpg"):
        assert meant(write(tmp_path, name), dataset, ["x/a.jpg"]) == "x/a.jpg"
    with pytest.raises(DataError, match="got 1 others"):
        read_returned(write(tmp_path, "/else/cam/a.jpg"), dataset, ["x/a.jpg"])


def test_blanks_around_the_path_of_a_task_are_part_of_it(tmp_path):
    dataset = data_set(tmp_path / "data", dict.fromkeys((" a.jpg", "a.jpg"), SIZE))
    path = as_tasks(tmp_path, "somewhere.jpg")
    tasks = json.loads(path.read_text())
    tasks[0]["data"]["path"] = " a.jpg"
    path.write_text(json.dumps(tasks))
    assert meant(path, dataset, ("a.jpg", " a.jpg")) == " a.jpg"


def test_names_as_the_batch_was_written_out(tmp_path, dataset):
    ids = ("cam1/0001.jpg", "cam2/0001.jpg", "plain.png")
    for write in (as_coco, as_cvat, as_tasks):
        assert meant(write(tmp_path, "cam2_0001.jpg"), dataset, ids) == "cam2/0001.jpg"


def test_two_versions_of_an_image_are_refused(tmp_path, dataset):
    path = as_coco(tmp_path, f"plain_png.rf.{HASH}.jpg")
    assert meant(path, dataset) == "plain.png"
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": 2, "file_name": f"plain_png.rf.{HASH[::-1]}.jpg"})
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="expected each image once, got plain.png again"):
        read_returned(path, dataset, BATCH)


def test_subsets_of_cvat_are_no_folders(tmp_path):
    names = ("a.jpg", "train/a.jpg")
    dataset = data_set(tmp_path / "data", dict.fromkeys(names, SIZE))
    path = as_cvat(tmp_path, "a.jpg")
    path.write_text(path.read_text().replace("<image ", '<image subset="train" '))
    assert meant(path, dataset, names) == "a.jpg"


def test_files_that_are_called_like_lists(tmp_path):
    names = ("train.jpg", "classes.jpg", "readme.jpg")
    dataset = data_set(tmp_path / "data", dict.fromkeys(names, SIZE))
    found = {name: detections(((1, 2, 30, 20), 1)) for name in names}
    returned = read_returned(came_back("yolo", tmp_path, dataset, names, found), dataset, names)
    assert set(returned.boxes) == set(names)
