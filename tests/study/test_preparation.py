"""What a study makes of people's folders: what is labelled, what may be chosen, what came later, what is gone."""

import json
import shutil

import pytest

from mgral.config import Config
from mgral.errors import ConfigError, DataError, MgralError, StateError
from mgral.study.preparation import describe, prepare
from tests.people import People

SETTINGS = {"detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
            "study": {"name": "s", "strategies": ["random"], "budget": 5, "cycles": 2}}


def config(budget: int = 5, **data):
    study = SETTINGS["study"] | {"strategies": ("random",), "budget": budget}
    return Config.model_validate({**SETTINGS, "data": data, "study": study})


@pytest.fixture
def people(tmp_path):
    return People(tmp_path, photos=40, labelled=20)


def faults(described):
    return [problem for fault in described.study_problems for problem in fault.problems]


def test_true_gains_are_for_pools_whose_labels_are_there(people, workspace):
    asked = config().model_copy(update={"study": config().study.model_copy(update={"true_gains": 2})})
    assert faults(describe(asked, workspace, people.folder)) == [
        "study.true_gains: expected a pool whose labels the data set hides, got 20 images without any; leave it out "
        "where people label"]


def test_what_is_listed_is_labelled_and_the_rest_may_be_chosen(people, workspace):
    described = describe(config(), workspace, people.folder)
    assert described.is_labelled
    assert faults(described) == []
    splits = described.splits
    assert [len(ids) for ids in (splits.labelled, splits.pool, splits.reward, splits.test)] == [12, 20, 4, 4]
    assert splits.pool == tuple(f"photos/{name}" for name in people.names[20:])
    assert not workspace.splits.exists(), "describing writes no splits"


def test_a_folder_without_labels(tmp_path, workspace):
    bare = People(tmp_path, photos=10, labelled=0)
    described = describe(config(), workspace, bare.folder)
    assert (described.is_labelled, described.splits, faults(described)) == (False, None, [])
    with pytest.raises(StateError, match="expected labelled images to learn from, got none yet; label the first batch"):
        prepare(config(), workspace, bare.folder)


def test_a_data_set_with_all_labels_has_nothing_to_choose(people, workspace):
    people.label(people.names)
    assert faults(describe(config(), workspace, people.folder))[0].startswith(
        "study: expected images that are not labelled yet, got none; add images without annotations, or hide labels")
    assert faults(describe(config(labelled=6), workspace, people.folder)) == []


def test_images_that_are_mostly_listed_without_boxes_are_asked_for(people, workspace):
    content = json.loads((people.folder / "labels.json").read_text())
    listed = {image["id"] for image in content["images"][:12]}
    content["annotations"] = [box for box in content["annotations"] if box["image_id"] not in listed]
    (people.folder / "labels.json").write_text(json.dumps(content))
    described = describe(config(), workspace, people.folder)
    assert "are listed without a box; say so: data.without_boxes: unlabelled" in faults(described)[-1]
    for answer, labelled in (("empty", 12), ("unlabelled", None)):
        told = describe(config(without_boxes=answer), workspace, people.folder)
        assert faults(told) == []
        assert labelled is None or len(told.splits.labelled) == labelled


def test_a_list_of_labelled_images(people, workspace):
    people.label(people.names)
    path = people.folder / "first.txt"
    path.write_text("\n".join([f"photos/{people.names[0]}", "", *people.names[1:10]]))
    described = describe(config(labelled_list="first.txt"), workspace, people.folder)
    assert faults(described) == []
    splits = described.splits
    assert {*splits.labelled, *splits.reward, *splits.test} == {f"photos/{name}" for name in people.names[:10]}
    path.write_text("nothing.jpg\nneither.jpg\nnor.jpg\nthis.jpg\nthat.jpg\n")
    said = faults(describe(config(labelled_list="first.txt"), workspace, people.folder))
    assert len(said) == 3
    assert said[0].endswith("first.txt:1: expected an annotated image of the data set, got 'nothing.jpg' with 0 images "
                            "of that name")
    assert said[2].endswith("(and 2 more like this)")
    (missing,) = faults(describe(config(labelled_list="no.txt"), workspace, people.folder))
    assert "no.txt: expected a list of image files, a path a line, got No such file" in missing


def test_what_comes_later_may_be_chosen_and_the_splits_stay(people, workspace):
    before = prepare(config(), workspace, people.folder)
    shutil.copy(people.folder / "photos" / people.names[0], people.folder / "photos" / "zebra.jpg")
    people.label(people.names[:25])
    after = prepare(config(), workspace, people.folder)
    assert after.splits == before.splits
    assert (before.arrived, after.arrived) == ((), ("photos/zebra.jpg",))
    assert after.source == before.source, "the hash of what the splits were drawn from"
    assert f"photos/{people.names[24]}" in after.dataset.boxes


def test_images_that_are_gone_are_named(people, workspace):
    prepare(config(), workspace, people.folder)
    for name in people.names[30:33]:
        (people.folder / "photos" / name).unlink()
    with pytest.raises(StateError, match=f"got no photos/{people.names[30]} and 2 others; restore them, or give"):
        prepare(config(), workspace, people.folder)


def test_boxes_that_are_measured_on_may_not_change(people, workspace):
    prepared = prepare(config(), workspace, people.folder)
    content = json.loads((people.folder / "labels.json").read_text())
    number = {f"photos/{image['file_name']}": image["id"] for image in content["images"]}
    learned = next(image_id for image_id in prepared.splits.labelled if len(prepared.dataset.boxes[image_id]))
    measured = next(image_id for image_id in prepared.splits.test if len(prepared.dataset.boxes[image_id]))
    for image_id, refused in ((learned, False), (measured, True)):
        box = next(box for box in content["annotations"] if box["image_id"] == number[image_id])
        box["bbox"] = [1, 1, 5, 5]
        (people.folder / "labels.json").write_text(json.dumps(content))
        if refused:
            with pytest.raises(StateError, match="drawn from these boxes of reward and test images, got splits of"):
                prepare(config(), workspace, people.folder)
        else:
            prepare(config(), workspace, people.folder)


def test_settings_of_data_may_not_change_but_its_place_may(people, workspace, tmp_path):
    prepare(config(), workspace, people.folder)
    people.folder.rename(tmp_path / "moved")
    prepare(config(root=str(tmp_path / "moved")), workspace, None)
    with pytest.raises(StateError, match="expected splits drawn from these settings of data"):
        prepare(config(test=0.3), workspace, tmp_path / "moved")


def test_all_faults_come_together(people, workspace):
    people.label(people.names)
    settings = Config.model_validate({**config().model_dump(), "device": "cuda"})
    with pytest.raises(MgralError) as caught:
        prepare(settings, workspace, people.folder)
    assert len(caught.value.problems) == 2


def test_no_data_set_named(workspace):
    with pytest.raises(ConfigError, match="data.root: expected the data set's folder, got nothing; set it, or give"):
        describe(config(), workspace, None)


def test_no_such_folder(workspace, tmp_path):
    with pytest.raises(DataError, match="no: expected the data set's folder, got nothing there"):
        describe(config(), workspace, tmp_path / "no")
