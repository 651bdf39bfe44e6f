"""What decides a choice: the labelled images' true objects, classes of both files, and the request's key."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mgral.errors import DataError
from mgral.selection import Request, select
from tests.small_data import save_image

NAMES = tuple(f"{number}.jpg" for number in range(6))


@pytest.fixture
def request_(tmp_path):
    """Six pictures: in 2 to 5 are a cat and a dog, equally unsure, but images 3 and 5 show one more dog."""
    for number, name in enumerate(NAMES):
        save_image(tmp_path / "photos" / name, seed=number)
    entries = [{"image_id": name, "category_id": category, "bbox": [1, 1, 9, 9], "score": 0.5}
               for name, categories in zip(NAMES[2:], ([1, 1], [2, 2], [1, 1], [2, 2]), strict=True)
               for category in categories]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    return Request(tmp_path / "photos", 2, predictions=tmp_path / "r.json")


def labelled(tmp_path, *categories, names=("cat", "dog")):
    path = tmp_path / "l.json"
    path.write_text(json.dumps({
        "images": [{"id": row, "file_name": NAMES[row]} for row in (0, 1)],
        "annotations": [{"id": row, "image_id": row % 2, "category_id": category, "bbox": [1, 1, 9, 9]}
                        for row, category in enumerate(categories)],
        "categories": [{"id": row, "name": name} for row, name in enumerate(names, 1)]}))
    return path


@pytest.mark.parametrize(("there", "wanted"), [((1, 1, 1, 1), {"3.jpg", "5.jpg"}), ((2, 2, 2, 2), {"2.jpg", "4.jpg"})])
def test_what_labels_hold_little_of_is_chosen(tmp_path, request_, there, wanted):
    batch = select(replace(request_, labelled=labelled(tmp_path, *there)))
    assert set(batch.selection.ids) == wanted
    assert batch.dataset.classes == ("cat", "dog"), "numbers are named by the labelled images' file"
    assert "seldom labelled" in batch.selection.reasons[0]
    assert set(batch.detections) == wanted
    assert any("category ids are taken to be those of the labelled images" in note for note in batch.notes)


def test_classes_of_labels_and_predictions_are_joined_by_name(tmp_path, request_):
    (tmp_path / "i.json").write_text(json.dumps({
        "images": [{"id": name, "file_name": name} for name in NAMES],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cow"}]}))
    named = replace(request_, annotations=tmp_path / "i.json")
    batch = select(replace(named, labelled=labelled(tmp_path, 1, 1, 2, 2)))
    assert batch.dataset.classes == ("dog", "cow", "cat")
    assert batch.dataset.category_ids == (1, 2, 3)
    assert np.concatenate([boxes.labels for boxes in batch.dataset.boxes.values()]).tolist() in ([2, 0, 2, 0],
                                                                                                [2, 2, 0, 0])
    with pytest.raises(DataError, match="expected the detector's class 'dog', got 'Dog'; write both alike"):
        select(replace(named, labelled=labelled(tmp_path, 1, 1, 2, 2, names=("cat", "Dog"))))


def test_the_key_names_what_decides(tmp_path, request_):
    first = select(request_)
    assert select(request_).key == first.key
    assert select(request_).selection.ids == first.selection.ids
    assert select(replace(request_, without=tmp_path / "batch")).key == first.key
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert select(replace(request_, images=tmp_path / "moved")).key == first.key
    (tmp_path / "moved").rename(tmp_path / "photos")
    others = [select(replace(request_, seed=1)).key, select(replace(request_, budget=3)).key]
    (tmp_path / "r.json").write_text((tmp_path / "r.json").read_text().replace("0.5", "0.6"))
    others.append(select(request_).key)
    save_image(tmp_path / "photos" / "9.jpg")
    others.append(select(request_).key)
    assert len({first.key, *others}) == 5
