import copy
import math

import pytest
import torch

from mgral.config import DetectorConfig, SedConfig, SemisupConfig
from mgral.data.augment import WEAK, view
from mgral.detection.building import build_detector
from mgral.detection.randomness import stream
from mgral.detection.targets import Target
from mgral.detection.training import contents_of, targets_of, total
from mgral.semisup.learning import learn
from mgral.semisup.method import Draw
from mgral.semisup.places import counts, looked_at
from mgral.semisup.sed import COLOUR, Places, Sed, attention, bernoulli_kl, giou_loss
from tests.detection.conftest import TWO_STAGE
from tests.detection.scenes import CLASSES

CONFIG = SemisupConfig(method="sed", steps=3, labelled_per_step=3, unlabelled_per_step=3,
                       sed=SedConfig(foreground=0.05))


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
    goal, guess = random_places(0).logits, random_places(1).logits
    loss = bernoulli_kl(goal, guess)
    for image in range(2):
        for place in range(5):
            expected = 0.0
            for c in range(3):
                p, q = (1 / (1 + math.exp(-one[image, place, c].item())) for one in (goal, guess))
                expected += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
            assert loss[image, place].item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert bernoulli_kl(goal, goal).abs().max() < 1e-6


def test_the_divergence_is_finite_for_any_logit():
    extreme = torch.tensor([[[-200.0, 200.0, 0.0]]])
    guess = -extreme.clone().requires_grad_()
    loss = bernoulli_kl(extreme, guess).sum()
    assert loss.item() == pytest.approx(400)
    assert torch.autograd.grad(loss, guess)[0].isfinite().all()


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
    goal = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    guess = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]])
    torch.testing.assert_close(giou_loss(goal, guess), torch.tensor([0.0, 0.5, 1 + 1 / 3]), atol=1e-5, rtol=0)


def test_losses_of_places_are_the_weighted_sums(start, scenes):
    """Against a loop over images, places and classes; the box is that of the teacher's deltas at the same anchor."""
    method = method_of(start, scenes, CONFIG.model_copy(update={"sed": SedConfig(foreground=0.6, gamma=2.0)}))
    teacher, student = random_places(0), random_places(1)._replace(anchors=random_places(0).anchors)
    losses = method._distilled(teacher, student)
    weights, classes, boxes = attention(teacher.logits, student.logits, 2.0), 0.0, 0.0
    for image in range(2):
        for place in range(5):
            one = slice(place, place + 1)
            weight = weights[image, place].item()
            classes += weight * bernoulli_kl(teacher.logits[image, one][None], student.logits[image, one][None]).item()
            if teacher.logits[image, place].sigmoid().max() >= 0.6:
                goal, guess = (start.decode(teacher.anchors[one], said.deltas[image, one]) for said in
                               (teacher, student))
                boxes += weight * giou_loss(goal, guess).item()
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
    assert all(one.grad is not None and one.grad.isfinite().all() for one in method.student.parameters()
               if one.requires_grad)
    assert all(one.grad is None for one in method.teacher.parameters())


def test_a_student_that_is_the_teacher_has_nothing_to_learn_in_the_same_view(start, scenes):
    method = method_of(start, scenes)
    dense = start.eval().dense(scenes.pixels(scenes.ids[:3]))
    twin = Places(dense.logits.detach(), dense.deltas.detach(), dense.anchors)
    assert all(value.item() == 0 for value in method._distilled(twin, twin).values())


def test_without_boxes_or_foreground_losses_are_finite(scenes):
    fresh = build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)
    method = method_of(fresh, scenes, CONFIG.model_copy(update={"sed": SedConfig(foreground=1.0)}))
    method.truth = {name: Target(one.xyxy[:0], one.labels[:0], one.ignore)
                    for name, one in method.truth.items()}
    losses = method.losses(draw_of(scenes))
    assert losses["same/boxes"].item() == losses["half/boxes"].item() == 0
    total(losses).backward()
    assert all(one.grad.isfinite().all() for one in method.student.parameters() if one.grad is not None)


def test_without_weight_the_gradients_are_the_supervised_ones(start, scenes):
    config = CONFIG.model_copy(update={"sed": SedConfig(weight=0.0, scale_weight=0.0)})
    method = method_of(start.eval(), scenes, config)
    total(method.losses(draw_of(scenes))).backward()
    seen, truth = method.sure(draw_of(scenes))
    plain = copy.deepcopy(start)
    total(plain.losses(seen.pixels, truth)).backward()
    for mine, its in zip(method.student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, atol=1e-6, rtol=1e-4)


def test_the_weight_rises(start, scenes):
    first, later = (method_of(start.eval(), scenes, CONFIG.model_copy(update={"sed": SedConfig(ramp_up=up)})).losses(
        draw_of(scenes, step=0)) for up in (1.0, 0.0))
    assert first["same/classes"].item() == pytest.approx(math.exp(-5) * later["same/classes"].item(), rel=1e-4)
    assert first["labelled/loss_cls"].item() == pytest.approx(later["labelled/loss_cls"].item())


def test_the_teacher_is_the_result(start, scenes, labelled):
    trained = learn(start, scenes, labelled, scenes.ids[8:16], CONFIG, 0)
    assert any(not torch.equal(value, start.state_dict()[name]) for name, value in trained.state_dict().items())


def test_two_stages_are_refused(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(TWO_STAGE)
    detector = build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0)
    assert "sigmoids of classes at fixed anchors" in Sed.refusal(detector)


def test_levels_that_do_not_double_are_refused(start, monkeypatch):
    assert Sed.refusal(start) is None
    dense = looked_at(start, 64)
    monkeypatch.setattr("mgral.semisup.sed.looked_at", lambda detector, side: dense)
    assert "expected strides and anchors that double" in Sed.refusal(start)
