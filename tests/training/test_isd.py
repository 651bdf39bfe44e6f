import copy
import math

import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig, TrainingConfig
from mgral.detection import Target, build_detector
from mgral.errors import ConfigError
from mgral.randomness import stream
from mgral.training.inputs import targets_of, total
from mgral.training.isd import (
    RAMP_DOWN,
    RAMP_UP,
    Isd,
    Predictions,
    csd,
    divergence,
    mixing_share,
    partners,
    type_one,
    type_two,
)
from mgral.training.method import Draw, ramp, statistics_kept
from mgral.training.methods import method_training
from mgral.training.places import looked_at, mirrored
from mgral.training.supervised import supervised_training
from tests.detection.conftest import TWO_STAGE
from tests.detection.scenes import CLASSES

SMALL_SSD = """
model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18, base_channels=16, stem_channels=16, num_stages=3, out_indices=(1, 2),
                  strides=(1, 2, 2), dilations=(1, 1, 1), norm_cfg=dict(type='BN', requires_grad=True),
                  norm_eval=False, frozen_stages=-1, avg_down=True),
    neck=dict(type='SSDNeck', in_channels=(32, 64), out_channels=(32, 64, 64), level_strides=(2,),
              level_paddings=(1,), l2_norm_scale=20),
    bbox_head=dict(
        type='SSDHead', in_channels=(32, 64, 64), num_classes=80,
        anchor_generator=dict(type='SSDAnchorGenerator', scale_major=False, input_size=64, strides=[8, 16, 32],
                              ratios=[[2], [2, 3], [2]], min_sizes=[12, 20, 32], max_sizes=[20, 32, 48]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.] * 4, target_stds=[.1, .1, .2, .2])),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=.5, neg_iou_thr=.5, min_pos_iou=0., ignore_iof_thr=-1,
                      gt_max_assign_all=False),
        sampler=dict(type='PseudoSampler'), smoothl1_beta=1., allowed_border=-1, pos_weight=-1, neg_pos_ratio=3,
        debug=False),
    test_cfg=dict(nms_pre=1000, nms=dict(type='nms', iou_threshold=.45), min_bbox_size=0, score_thr=.02,
                  max_per_img=200))
"""
CONFIG = SemisupConfig(method="isd", steps=3, labelled_per_step=3, unlabelled_per_step=3)


@pytest.fixture(scope="module")
def ssd(tmp_path_factory, scenes):
    """An SSD after a short training on eight images; nobody changes it."""
    path = tmp_path_factory.mktemp("ssd") / "model.py"
    path.write_text(SMALL_SSD)
    detector = build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0)
    config = TrainingConfig(steps=60, batch_size=8, lr=3e-3)
    list(supervised_training(detector, scenes, scenes.boxes, scenes.ids[:8], config, 0))
    return detector


def draw_of(scenes, step=2):
    return Draw(step, 3, scenes.ids[:3], scenes.ids[8:11], stream(step))


def method_of(start, scenes, **changes):
    truth = targets_of(scenes, scenes.boxes, scenes.ids[:8], start.device)
    config = CONFIG.model_copy(update=changes)
    return Isd(copy.deepcopy(start), copy.deepcopy(start), scenes, truth, config)


def random_predictions(seed, images=3, places=8, classes=3, spread=3.0):
    rng = stream(seed)
    logits = spread * torch.randn(images, places, classes + 1, generator=rng)
    return Predictions(logits.log_softmax(dim=2), torch.randn(images, places, 4, generator=rng))


def everywhere(predictions):
    """(foreground, probabilities, deltas) of each place as plain numbers."""
    return [(max(p[:-1]) > p[-1], p, d) for p, d in zip(predictions.log_p.exp().flatten(0, 1).tolist(),
                                                        predictions.deltas.flatten(0, 1).tolist(), strict=True)]


def plain_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def plain_distance(first, second):
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / 4


def mean(values):
    return sum(values) / len(values)


def test_consistency_under_flips_by_a_loop():
    image, flip = random_predictions(0), random_predictions(1)
    pairs = [pair for pair in zip(everywhere(image), everywhere(flip), strict=True) if pair[0][0]]
    assert 0 < len(pairs) < 24
    classes = mean([(plain_kl(p, q) + plain_kl(q, p)) / 2 for (_, p, _), (_, q, _) in pairs])
    boxes = mean([plain_distance(d, [-e[0], *e[1:]]) for (_, _, d), (_, _, e) in pairs])
    assert csd(image, flip).item() == pytest.approx(classes + boxes, rel=1e-4)


def test_type_one_by_a_loop():
    left, right, mixture = (random_predictions(seed) for seed in range(3))
    values = []
    for (in_left, p, _), (in_right, q, _), (_, m, _) in zip(*map(everywhere, (left, right, mixture)), strict=True):
        if in_left and in_right:
            target = [0.3 * a + 0.7 * b for a, b in zip(p, q, strict=True)]
            values.append((plain_kl(target, m) + plain_kl(m, target)) / 2)
    assert values
    assert type_one(left, right, mixture, 0.3).item() == pytest.approx(mean(values), rel=1e-4)


def test_type_two_by_a_loop():
    left, right, mixture = (random_predictions(seed) for seed in range(3))
    sides = [], []
    for (in_left, p, d), (in_right, q, e), (_, m, f) in zip(*map(everywhere, (left, right, mixture)), strict=True):
        if in_left and not in_right:
            sides[0].append(plain_kl(p, m) + plain_distance(d, f))
        if in_right and not in_left:
            sides[1].append(plain_kl(q, m) + plain_distance(e, f))
    assert all(sides)
    assert type_two(left, right, mixture).item() == pytest.approx(mean(sides[0]) + mean(sides[1]), rel=1e-4)


def test_mixing_is_symmetric():
    left, right, mixture = (random_predictions(seed) for seed in range(3))
    torch.testing.assert_close(type_one(left, right, mixture, 0.3), type_one(right, left, mixture, 0.7))
    torch.testing.assert_close(type_two(left, right, mixture), type_two(right, left, mixture))


def test_no_place_counts_in_both_types():
    """What both losses of a mixture look at is neither the same place nor one where all is background."""
    left, right, mixture = (random_predictions(seed) for seed in range(3))
    mixture.log_p.requires_grad_()
    touched = [torch.autograd.grad(loss, mixture.log_p, retain_graph=True)[0].abs().sum(dim=2) > 0
               for loss in (type_one(left, right, mixture, 0.5), type_two(left, right, mixture))]
    assert torch.equal(touched[0], left.foreground & right.foreground)
    assert torch.equal(touched[1], left.foreground ^ right.foreground)


def test_a_target_gets_no_gradient():
    left, right, mixture = (random_predictions(seed) for seed in range(3))
    for side in (left, right):
        side.log_p.requires_grad_()
        side.deltas.requires_grad_()
    assert not type_two(left, right, mixture).requires_grad
    type_one(left, right, mixture, 0.5).backward()
    assert left.log_p.grad.abs().sum() > 0
    assert left.deltas.grad is None


def test_the_divergence_is_symmetric_and_safe():
    first, second = torch.tensor([[300.0, 0, -300]]).log_softmax(1), torch.tensor([[-300.0, 0, 300]]).log_softmax(1)
    second.requires_grad_()
    loss = divergence(first, second)
    torch.testing.assert_close(loss, divergence(second, first))
    assert loss.item() == pytest.approx(600)
    assert torch.autograd.grad(loss.sum(), second)[0].isfinite().all()


def test_without_foreground_there_is_nothing_to_compare():
    sky = [Predictions(predictions.log_p - torch.tensor([99.0, 99, 99, 0]), predictions.deltas.requires_grad_())
           for predictions in map(random_predictions, range(3))]
    for loss in (csd(*sky[:2]), type_one(*sky, 0.5), type_two(*sky)):
        assert loss.item() == 0
    csd(*sky[:2]).backward()
    assert sky[0].deltas.grad.abs().sum() == 0


def test_mirrored_places_lie_at_mirrored_anchors(ssd):
    """By geometry: 64 pixels are a multiple of each stride, so that the match is exact."""
    dense = looked_at(ssd, 64)
    back = mirrored(dense.sizes, dense.each)
    left, top, right, bottom = dense.anchors.unbind(1)
    torch.testing.assert_close(dense.anchors[back], torch.stack([64 - right, top, 64 - left, bottom], dim=1))
    assert torch.equal(back[back], torch.arange(len(dense.anchors)))
    assert dense.each == [4, 6, 4]


def test_where_the_stride_does_not_divide_the_canvas_anchors_are_off_by_the_rest(ssd):
    dense = looked_at(ssd, 72)  # five cells of 16 pixels reach to 80, three of 32 to 96
    assert dense.sizes == [(9, 9), (5, 5), (3, 3)]
    shift = dense.anchors[mirrored(dense.sizes, dense.each)][:, 0] - (72 - dense.anchors[:, 2])
    places = [9 * 9 * 4, 5 * 5 * 6, 3 * 3 * 4]
    for level, expected in zip(shift.split(places), (0.0, 8.0, 24.0), strict=True):
        torch.testing.assert_close(level, torch.full_like(level, expected))


def test_a_mirrored_output_is_consistent():
    """Deltas that say the mirrored box at the mirrored place have no loss, those in the wrong place have one."""
    sizes, each = [(2, 3), (1, 2)], [2, 1]
    back, predictions = mirrored(sizes, each), random_predictions(0, 2, 14)
    assert back.tolist() == [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7, 13, 12]
    flip = Predictions(predictions.log_p[:, back], predictions.deltas[:, back] * torch.tensor([-1.0, 1, 1, 1]))
    assert csd(predictions, Predictions(flip.log_p[:, back], flip.deltas[:, back])).item() == 0
    assert csd(predictions, flip).item() > 0.1


def test_partners_come_from_the_other_half():
    assert partners(torch.arange(6)).tolist() == [3, 4, 5, 0, 1, 2]
    assert sorted(partners(torch.arange(5)).tolist()) == [0, 1, 2, 3, 4]
    assert (partners(torch.arange(5)) != torch.arange(5)).all()


def test_images_are_mixed_about_half_and_half():
    rng = stream(0)
    shares = torch.tensor([mixing_share(100.0, rng) for _ in range(500)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
    assert shares.std().item() == pytest.approx(math.sqrt(1 / (4 * 201)), rel=0.15)
    assert mixing_share(100.0, stream(1)) == mixing_share(100.0, stream(1)) != mixing_share(100.0, stream(2))


def test_the_ramp_at_named_points():
    """Against the published schedule of 120,000 iterations."""
    weights = [ramp(step, 120_000, RAMP_UP, RAMP_DOWN)
               for step in (0, 16_000, 32_000, 66_000, 100_000, 110_000, 120_000)]
    assert weights == pytest.approx([math.exp(-5), math.exp(-5 / 4), 1, 1, 1, math.exp(-12.5 / 4), math.exp(-12.5)])
    assert ramp(0, 10, 0.0) == ramp(9, 10, 0.0) == 1


def test_statistics_stay_and_momenta_come_back(ssd, scenes):
    detector = copy.deepcopy(ssd).train()
    norm = detector.model.backbone.bn1
    before = norm.running_mean.clone()
    with statistics_kept(detector):
        detector.dense(scenes.pixels(scenes.ids[:2]))
    assert torch.equal(norm.running_mean, before)
    detector.dense(scenes.pixels(scenes.ids[:2]))
    assert not torch.equal(norm.running_mean, before)


def test_gradients_reach_the_student_only_and_each_loss_counts(ssd, scenes):
    method = method_of(ssd, scenes)
    method.student.train()
    with torch.no_grad():  # a detector that sees objects in many places, so that two of them meet somewhere
        for row in method.student.model.bbox_head.cls_convs:
            row[-1].bias.view(-1, 4)[:, 3] -= 3
    losses = method.losses(draw_of(scenes))
    assert set(losses) == {"labelled/loss_cls", "labelled/loss_bbox", "unlabelled/csd", "unlabelled/type1",
                           "unlabelled/type2"}
    assert all(value.isfinite() and value > 0 for value in losses.values())
    total(losses).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all()
               for parameter in method.student.parameters())
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_without_boxes_losses_are_finite(ssd, scenes):
    method = method_of(ssd, scenes)
    method.student.train()
    method.truth = {image_id: Target(target.xyxy[:0], target.labels[:0], target.ignore)
                    for image_id, target in method.truth.items()}
    total(method.losses(draw_of(scenes))).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.student.parameters()
               if parameter.grad is not None)


def test_without_weight_the_gradients_are_the_supervised_ones(ssd, scenes):
    method, plain = method_of(ssd.eval(), scenes, weight=0.0), copy.deepcopy(ssd)
    total(method.losses(draw_of(scenes))).backward()
    labelled, truth = method.sure(draw_of(scenes))
    total(plain.losses(labelled.pixels, truth)).backward()
    for actual, expected in zip(method.student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, atol=1e-6, rtol=1e-4)


def test_the_student_is_the_result(ssd, scenes):
    method = method_of(ssd, scenes)
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    with torch.no_grad():
        next(method.student.parameters()).add_(1.0)
    method.after(0)
    assert method.result is method.student
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())


def test_the_same_seed_gives_the_same_weights(ssd, scenes, labelled):
    first, second, third = (method_training(ssd, scenes, labelled, scenes.ids[8:16], CONFIG, seed).run().state_dict()
                            for seed in (0, 0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, third[name]) for name, value in first.items())


def test_interrupted_and_continued_is_undisturbed(ssd, scenes, labelled, tmp_path):
    config, path = CONFIG.model_copy(update={"steps": 4}), tmp_path / "part.pth"
    whole = method_training(ssd, scenes, labelled, scenes.ids[8:16], config, 0).run().state_dict()

    for step in method_training(ssd, scenes, labelled, scenes.ids[8:16], config, 0, checkpoint=path, every=2):
        if step.step == 3:
            break
    resumed = method_training(ssd, scenes, labelled, scenes.ids[8:16], config, 0, checkpoint=path).run().state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_sigmoids_and_two_stages_are_refused(start, ssd, scenes, labelled, tmp_path):
    path = tmp_path / "model.py"
    path.write_text(TWO_STAGE)
    two = build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0)
    assert Isd.refusal(ssd) is None
    for detector in (start, two):
        assert "softmax over classes and background" in Isd.refusal(detector)
    with pytest.raises(ConfigError, match="expected a method for this detector, got isd"):
        method_training(start, scenes, labelled, scenes.ids[8:16], CONFIG, 0).run()
