import copy

import pytest
import torch

from mgral.config import SemisupConfig
from mgral.data.augment import move_boxes
from mgral.errors import StateError, TrainingError
from mgral.randomness import stream
from mgral.training.method import follow, momentum, pseudo_view
from mgral.training.methods import METHODS, method_training

CONFIG = SemisupConfig(steps=3, labelled_per_step=3, unlabelled_per_step=3, threshold=0.3)


def config_of(method, **changes):
    return CONFIG.model_copy(update={"method": method, **changes})


def makes_sense(method, detector):
    if METHODS[method].refusal(detector):
        pytest.skip(METHODS[method].refusal(detector))


def test_the_momentum_ramp_is_that_of_soft_teacher():
    assert [momentum(step, 0.999) for step in range(4)] == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])
    assert momentum(998, 0.999) == pytest.approx(1 - 1 / 999)
    assert momentum(999, 0.999) == pytest.approx(0.999)
    assert momentum(5000, 0.999) == 0.999


def test_with_the_ramp_the_teacher_is_the_mean_of_all_students(start):
    teacher, student = copy.deepcopy(start), copy.deepcopy(start)
    name = "model.backbone.conv1.weight"
    weights = []
    for step in range(3):
        with torch.no_grad():
            student.state_dict()[name].add_(step + 1.0)
        weights.append(student.state_dict()[name].clone())
        follow(teacher, student, momentum(step, 0.999))
    torch.testing.assert_close(teacher.state_dict()[name], torch.stack(weights).mean(dim=0))


def test_statistics_follow_and_counters_are_copied(start):
    teacher, student = copy.deepcopy(start), copy.deepcopy(start)
    mean, count = "model.backbone.bn1.running_mean", "model.backbone.bn1.num_batches_tracked"
    before = teacher.state_dict()[mean].clone()
    student.state_dict()[mean].add_(1.0)
    student.state_dict()[count].add_(7)
    follow(teacher, student, 0.75)
    torch.testing.assert_close(teacher.state_dict()[mean], before + 0.25)
    assert teacher.state_dict()[count] == student.state_dict()[count]


def test_pseudo_labels_lie_where_the_objects_are_in_the_strong_view(start, scenes):
    ids = scenes.ids[:6]
    view, targets = pseudo_view(start, scenes, ids, 0.3, stream(0))
    near = []
    for image_id, target, matrix in zip(ids, targets, view.matrices, strict=True):
        truth = torch.as_tensor(scenes.boxes[image_id].xyxy) * 2
        truth = move_boxes(truth, matrix.expand(len(truth), 3, 3)).clamp(0, 64)
        near += [(truth - box).abs().max(dim=1).values.min().item() < 8 for box in target.xyxy]
    assert len(near) >= 6
    assert sum(near) > 0.8 * len(near)


def test_only_sure_boxes_become_pseudo_labels(start, scenes):
    counts = [sum(map(len, pseudo_view(start, scenes, scenes.ids[:6], threshold, stream(0))[1]))
              for threshold in (0.1, 0.5, 1.0)]
    assert counts[0] > counts[1] >= counts[2] == 0


def test_the_teacher_pass_leaves_the_teacher_as_it_is(start, scenes):
    before = {name: value.clone() for name, value in start.state_dict().items()}
    pseudo_view(start, scenes, scenes.ids[:4], 0.3, stream(0))
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_the_start_stays_as_it_is_and_the_same_seed_gives_the_same_weights(method, start, scenes, labelled):
    makes_sense(method, start)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    first, second, third = (
        method_training(start, scenes, labelled, scenes.ids[8:16], config_of(method), seed).run().state_dict()
        for seed in (0, 0, 1))
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, third[name]) for name, value in first.items())
    assert any(not torch.equal(value, before[name]) for name, value in first.items())


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_and_continued_is_undisturbed(method, start, scenes, labelled, tmp_path):
    makes_sense(method, start)
    config, path = config_of(method, steps=4), tmp_path / "part.pth"

    def training():
        return method_training(start, scenes, labelled, scenes.ids[8:16], config, 0, checkpoint=path, every=2)

    whole = method_training(start, scenes, labelled, scenes.ids[8:16], config, 0).run().state_dict()
    for step in training():
        if step.step == 3:
            break
    resumed = training()
    steps = list(resumed)
    assert [step.step for step in steps] == [3, 4]
    assert all(torch.equal(value, resumed.result.state_dict()[name]) for name, value in whole.items())
    assert resumed.finished
    resumed.forget()
    assert not path.exists()


def test_a_checkpoint_of_other_work_is_refused(start, scenes, labelled, tmp_path):
    config, path = config_of("supervised", steps=4), tmp_path / "part.pth"
    list(method_training(start, scenes, labelled, (), config, 0, checkpoint=path, until=2))
    with pytest.raises(StateError, match="expected a training of the same images, settings and seed, got another"):
        method_training(start, scenes, labelled, (), config, 1, checkpoint=path)


def test_what_the_consumer_measured_is_there_again(start, scenes, labelled, tmp_path):
    config, path = config_of("supervised", steps=4), tmp_path / "part.pth"

    def training(until=None, evaluated=(2, 4)):
        return method_training(start, scenes, labelled, (), config, 0, None, path, evaluated, until)

    paused = training(until=2)
    for step in paused:
        paused.evaluations.append({"step": step.step})
    assert not paused.finished
    assert training().evaluations == [{"step": 1}, {"step": 2}]
    assert list(training(until=2)) == []
    with pytest.raises(StateError, match="got another; remove the file"):
        training(evaluated=(4,))


def test_a_loss_that_is_not_finite_names_the_images(start, scenes, labelled):
    broken = copy.deepcopy(start)
    broken.model.bbox_head.retina_cls.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1: expected a finite loss, got nan on images scene-.*scene-"):
        method_training(broken, scenes, labelled, scenes.ids[8:16], CONFIG, 0).run()


def test_without_weight_the_unlabelled_images_teach_nothing(start, scenes, labelled):
    """Batch norm sees them all the same; without it the weights do not depend on them."""
    still = copy.deepcopy(start).eval()
    for module in still.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True: None  # stays in eval mode
    config = config_of("mean_teacher", weight=0.0)
    first, second = (method_training(still, scenes, labelled, ids, config, 0).run().state_dict()
                     for ids in (scenes.ids[8:12], scenes.ids[12:16]))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("method", "known", "unknown"), [
    ("mean_teacher", 0, 2), ("mean_teacher", 2, 0), ("supervised", 0, 2)])
def test_nothing_to_learn_from_is_refused(method, known, unknown, start, scenes, labelled):
    labelled = dict(list(labelled.items())[:known])
    with pytest.raises(ValueError, match="expected at least one item to draw from, got none"):
        method_training(start, scenes, labelled, scenes.ids[8:8 + unknown], config_of(method), 0).run()


def test_the_baseline_does_not_look_at_unlabelled_images(start, scenes, labelled):
    first, second = (method_training(start, scenes, labelled, ids, config_of("supervised"), 0).run().state_dict()
                     for ids in ((), scenes.ids[8:]))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_only_the_settings_of_the_method_count():
    changed = CONFIG.model_copy(update={"threshold": 0.9, "weight": 3.0})
    assert CONFIG.used() != changed.used()
    assert config_of("supervised").used() == changed.model_copy(update={"method": "supervised"}).used()
    assert "soft_teacher" in config_of("soft_teacher").used()
    assert not {"soft_teacher", "threshold", "weight"} & set(config_of("supervised").used())


@pytest.mark.parametrize(("method", "threshold", "weight"), [
    ("supervised", None, None), ("mean_teacher", 0.2, 1.0), ("stac", 0.9, 2.0), ("soft_teacher", None, 4.0),
    ("isd", None, 1.0), ("sed", None, 1.0)])
def test_what_is_not_set_is_the_methods_own(method, threshold, weight):
    own, stated = SemisupConfig(method=method), SemisupConfig(method=method, threshold=threshold, weight=weight)
    assert (own.least_score, own.unlabelled_weight) == (threshold, weight)
    assert own.used() == stated.used()
