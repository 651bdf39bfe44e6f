import copy

import pytest
import torch

from mgral.config import MeanTeacherConfig, SemisupConfig
from mgral.data.augment import move_boxes
from mgral.detection.randomness import stream
from mgral.errors import StateError, TrainingError
from mgral.semisup.learning import METHODS, learn
from mgral.semisup.method import follow, momentum, pseudo_view

CONFIG = SemisupConfig(steps=3, labelled_per_step=3, unlabelled_per_step=3,
                       mean_teacher=MeanTeacherConfig(threshold=0.3))


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
    seen = []
    for step in range(3):
        with torch.no_grad():
            student.state_dict()[name].add_(step + 1.0)
        seen.append(student.state_dict()[name].clone())
        follow(teacher, student, momentum(step, 0.999))
    torch.testing.assert_close(teacher.state_dict()[name], torch.stack(seen).mean(dim=0))


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
    first, second, third = (learn(start, scenes, labelled, scenes.ids[8:16], config_of(method), seed).state_dict()
                            for seed in (0, 0, 1))
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, third[name]) for name, value in first.items())
    assert any(not torch.equal(value, before[name]) for name, value in first.items())


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_and_continued_is_undisturbed(method, start, scenes, labelled, tmp_path):
    makes_sense(method, start)
    config, path = config_of(method, steps=4, checkpoint_every=2), tmp_path / "part.pth"
    whole = learn(start, scenes, labelled, scenes.ids[8:16], config, 0).state_dict()

    def killed(step):
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(start, scenes, labelled, scenes.ids[8:16], config, 0, checkpoint=path, watch=killed)
    steps = []
    resumed = learn(start, scenes, labelled, scenes.ids[8:16], config, 0, checkpoint=path, watch=steps.append)
    assert [step.step for step in steps] == [3, 4]
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.items())
    assert not resumed.training
    assert not path.exists()


def test_a_checkpoint_of_other_work_is_refused(start, scenes, labelled, tmp_path):
    config, path = config_of("supervised", steps=4, checkpoint_every=2), tmp_path / "part.pth"

    def killed(step):
        if step.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(start, scenes, labelled, (), config, 0, checkpoint=path, watch=killed)
    with pytest.raises(StateError, match="expected a training of the same images, settings and seed, got another"):
        learn(start, scenes, labelled, (), config, 1, checkpoint=path)


def test_a_loss_that_is_not_finite_names_the_images(start, scenes, labelled):
    broken = copy.deepcopy(start)
    broken.model.bbox_head.retina_cls.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1: expected a finite loss, got nan on images scene-.*scene-"):
        learn(broken, scenes, labelled, scenes.ids[8:16], CONFIG, 0)


def test_without_weight_the_unlabelled_images_teach_nothing(start, scenes, labelled):
    """Batch norm sees them all the same; without it the weights do not depend on them."""
    still = copy.deepcopy(start).eval()
    for module in still.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True: None  # stays in eval mode
    config = config_of("mean_teacher", mean_teacher=MeanTeacherConfig(weight=0.0))
    first, second = (learn(still, scenes, labelled, ids, config, 0).state_dict()
                     for ids in (scenes.ids[8:12], scenes.ids[12:16]))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("method", "known", "unknown"), [
    ("mean_teacher", 0, 2), ("mean_teacher", 2, 0), ("supervised", 0, 2)])
def test_nothing_to_learn_from_is_refused(method, known, unknown, start, scenes, labelled):
    with pytest.raises(ValueError, match="expected at least one item to draw from, got none"):
        learn(start, scenes, dict(list(labelled.items())[:known]), scenes.ids[8:8 + unknown], config_of(method), 0)


def test_the_baseline_does_not_look_at_unlabelled_images(start, scenes, labelled):
    first, second = (learn(start, scenes, labelled, ids, config_of("supervised"), 0).state_dict()
                     for ids in ((), scenes.ids[8:]))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_only_the_settings_of_the_method_count():
    other = CONFIG.model_copy(update={"mean_teacher": MeanTeacherConfig(threshold=0.9)})
    assert CONFIG.used() != other.used()
    assert config_of("supervised").used() == other.model_copy(update={"method": "supervised"}).used()
