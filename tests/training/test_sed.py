import copy
import math

import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig
from mgral.data.augment import WEAK, view
from mgral.detection import Target, build_detector
from mgral.randomness import stream
from mgral.training import sed
from mgral.training.inputs import contents_of, targets_of, total
from mgral.training.method import Draw
from mgral.training.methods import method_training
from mgral.training.places import counts, looked_at
from mgral.training.sed import COLOUR, Places, Sed, attention, bernoulli_kl, giou_loss
from tests.detection.conftest import TWO_STAGE
from tests.detection.scenes import CLASSES

CONFIG = SemisupConfig(method="sed", steps=3, labelled_per_step=3, unlabelled_per_step=3)


@pytest.fixture(autouse=True)
def unsure(monkeypatch):
    """A detector after a short training is seldom sure of a box."""
    monkeypatch.setattr(sed, "FOREGROUND", 0.05)


def draw_of(scenes, step=2, unlabelled=3):
    return Draw(step, 3, scenes.ids[:3], scenes.ids[8:8 + unlabelled], stream(step))


def method_of(start, scenes, config=CONFIG, labelled=None):
    truth = targets_of(scenes, labelled or scenes.boxes, scenes.ids[:8], start.device)
    return Sed(copy.deepcopy(start), copy.deepcopy(start), scenes, truth, config)


def random_places(seed, images=2, places=5, classes=3):
    rng = stream(seed)
    anchors = torch.rand(places, 2, generator=rng) * 40
    return Places(4 * torch.randn(images, places, classes, generator=rng),
                  torch.randn(images, places, 4, generator=rng), torch.cat([anchors, anchors + 16], dim=1))


def test_the_divergence_is_that_of_each_class_for_itself():
    target, prediction = random_places(0).logits, random_places(1).logits
    loss = bernoulli_kl(target, prediction)
    for image in range(2):
        for place in range(5):
            expected = 0.0
            for c in range(3):
                p, q = (1 / (1 + math.exp(-logits[image, place, c].item())) for logits in (target, prediction))
                expected += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
            assert loss[image, place].item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert bernoulli_kl(target, target).abs().max() < 1e-6


def test_the_divergence_is_finite_for_any_logit():
    extreme = torch.tensor([[[-200.0, 200.0, 0.0]]])
    prediction = -extreme.clone().requires_grad_()
    loss = bernoulli_kl(extreme, prediction).sum()
    assert loss.item() == pytest.approx(400)
    assert torch.autograd.grad(loss, prediction)[0].isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_places_weigh_by_their_disagreement(gamma):
    teacher, student = random_places(0).logits, random_places(1).logits.requires_grad_()
    weights = attention(teacher, student, gamma)
    differences = [[max(abs(teacher[i, n].sigmoid() - student[i, n].sigmoid()).tolist()) ** gamma for n in range(5)]
                   for i in range(2)]
    expected = torch.tensor(differences) / sum(map(sum, differences))
    torch.testing.assert_close(weights, expected)
    assert not weights.requires_grad


def test_where_all_agree_nothing_weighs():
    teacher = random_places(0).logits
    assert attention(teacher, teacher.clone(), 1.0).tolist() == [[0.0] * 5] * 2


def test_box_loss_by_hand():
    target = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    prediction = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]])
    torch.testing.assert_close(giou_loss(target, prediction), torch.tensor([0.0, 0.5, 1 + 1 / 3]), atol=1e-5, rtol=0)


def test_losses_of_places_are_the_weighted_sums(start, scenes, monkeypatch):
    """Against a loop over images, places and classes; the box is that of the teacher's deltas at the same anchor."""
    monkeypatch.setattr(sed, "FOREGROUND", 0.6)
    monkeypatch.setattr(sed, "GAMMA", 2.0)
    method = method_of(start, scenes)
    teacher, student = random_places(0), random_places(1)._replace(anchors=random_places(0).anchors)
    losses = method._distilled(teacher, student)
    weights, classes, boxes = attention(teacher.logits, student.logits, 2.0), 0.0, 0.0
    for image in range(2):
        for place in range(5):
            here = slice(place, place + 1)
            weight = weights[image, place].item()
            logits = teacher.logits[image, here][None], student.logits[image, here][None]
            classes += weight * bernoulli_kl(*logits).item()
            if teacher.logits[image, place].sigmoid().max() >= 0.6:
                target, prediction = (start.decode(teacher.anchors[here], places.deltas[image, here]) for places in
                               (teacher, student))
                boxes += weight * giou_loss(target, prediction).item()
    assert losses["classes"].item() == pytest.approx(classes, rel=1e-4)
    assert losses["boxes"].item() == pytest.approx(boxes, rel=1e-4)
    assert boxes > 0


def test_half_the_image_has_the_next_levels_cells_and_anchors_half_as_large(start):
    whole, half = looked_at(start, 96), looked_at(start, 48)
    assert whole.sizes[1:] == half.sizes[:-1]
    large, small = whole.anchors[counts(whole)[0]:], half.anchors[:-counts(half)[-1]]
    torch.testing.assert_close(large, 2 * small)
    deltas = torch.randn(len(small), 4, generator=stream(0)).clamp(-2, 2)
    torch.testing.assert_close(start.decode(large, deltas), 2 * start.decode(small, deltas))


def test_the_students_view_moves_nothing(scenes):
    pixels, contents = scenes.pixels(scenes.ids[:4]), contents_of(scenes, scenes.ids[:4])
    weak = view(pixels, contents, WEAK, stream(0))
    strong = view(weak.pixels, contents, COLOUR, stream(1))
    assert torch.equal(strong.matrices, torch.eye(3).repeat(4, 1, 1))
    assert not torch.equal(strong.pixels, weak.pixels)


def test_gradients_reach_the_student_only_and_each_loss_counts(start, scenes):
    method = method_of(start, scenes)
    method.student.train()
    losses = method.losses(draw_of(scenes))
    assert set(losses) == {"labelled/loss_cls", "labelled/loss_bbox", "same/classes", "same/boxes", "half/classes",
                           "half/boxes"}
    assert all(value.isfinite() and value > 0 for value in losses.values())
    for value in losses.values():
        value.backward(retain_graph=True)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all()
               for parameter in method.student.parameters() if parameter.requires_grad)
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_a_student_that_is_the_teacher_has_nothing_to_learn_in_the_same_view(start, scenes):
    method = method_of(start, scenes)
    dense = start.eval().dense(scenes.pixels(scenes.ids[:3]))
    twin = Places(dense.logits.detach(), dense.deltas.detach(), dense.anchors)
    assert all(value.item() == 0 for value in method._distilled(twin, twin).values())


def test_without_boxes_or_foreground_losses_are_finite(scenes, monkeypatch):
    monkeypatch.setattr(sed, "FOREGROUND", 1.0)
    fresh = build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)
    method = method_of(fresh, scenes)
    method.truth = {image_id: Target(target.xyxy[:0], target.labels[:0], target.ignore)
                    for image_id, target in method.truth.items()}
    losses = method.losses(draw_of(scenes))
    assert losses["same/boxes"].item() == losses["half/boxes"].item() == 0
    total(losses).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.student.parameters()
               if parameter.grad is not None)


def test_without_weight_the_gradients_are_the_supervised_ones(start, scenes):
    config = CONFIG.model_copy(update={"weight": 0.0})
    method = method_of(start.eval(), scenes, config)
    total(method.losses(draw_of(scenes))).backward()
    labelled, truth = method.sure(draw_of(scenes))
    plain = copy.deepcopy(start)
    total(plain.losses(labelled.pixels, truth)).backward()
    for actual, expected in zip(method.student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, atol=1e-6, rtol=1e-4)


def test_the_weight_rises(start, scenes, monkeypatch):
    losses = []
    for up in (1.0, 0.0):
        monkeypatch.setattr(sed, "RAMP_UP", up)
        losses.append(method_of(start.eval(), scenes).losses(draw_of(scenes, step=0)))
    first, later = losses
    assert first["same/classes"].item() == pytest.approx(math.exp(-5) * later["same/classes"].item(), rel=1e-4)
    assert first["labelled/loss_cls"].item() == pytest.approx(later["labelled/loss_cls"].item())


def test_the_teacher_is_the_result(start, scenes, labelled):
    trained = method_training(start, scenes, labelled, scenes.ids[8:16], CONFIG, 0).run()
    assert any(not torch.equal(value, start.state_dict()[name]) for name, value in trained.state_dict().items())


def test_two_stages_are_refused(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(TWO_STAGE)
    detector = build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0)
    assert "sigmoids of classes at fixed anchors" in Sed.refusal(detector)


def test_levels_that_do_not_double_are_refused(start, monkeypatch):
    assert Sed.refusal(start) is None
    dense = looked_at(start, 64)
    monkeypatch.setattr("mgral.training.sed.looked_at", lambda detector, side: dense)
    assert "expected strides and anchors that double" in Sed.refusal(start)
