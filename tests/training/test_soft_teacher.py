import copy
import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torchvision.ops import box_iou

from mgral.config import WEIGHTS, DetectorConfig, SemisupConfig, SoftTeacherConfig, TrainingConfig
from mgral.data.augment import STRONGEST, WEAK, view
from mgral.detection import BACKGROUND, build_detector, evaluating, targets
from mgral.detection.heads import metas, samples
from mgral.randomness import stream
from mgral.training import soft_teacher
from mgral.training.inputs import contents_of, targets_of, training_view
from mgral.training.method import Draw, statistics_kept
from mgral.training.methods import method_training
from mgral.training.soft_teacher import INDICATORS, SoftTeacher, jittered, reliability, spread
from mgral.training.supervised import supervised_training
from tests.detection.conftest import DENSE, TWO_STAGE
from tests.detection.scenes import CLASSES, Scenes

RULES = SoftTeacherConfig(teacher_threshold=0.3, foreground_threshold=0.5, box_variance=0.1)
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="session")
def stages(tmp_path_factory, scenes):
    """Student and teacher of two stages, after short trainings of different lengths; nobody changes them."""
    path = tmp_path_factory.mktemp("config") / "model.py"
    path.write_text(TWO_STAGE.replace("norm_eval=False", "norm_eval=True"))
    detectors = [build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=seed) for seed in (0, 1)]
    for detector, steps in zip(detectors, (50, 80), strict=True):
        config = TrainingConfig(steps=steps, batch_size=4, lr=3e-3)
        list(supervised_training(detector, scenes, scenes.boxes, scenes.ids[:8], config, 0))
    return detectors


def config_of(**changes):
    return SemisupConfig(method="soft_teacher", steps=2, labelled_per_step=2, unlabelled_per_step=3,
                         soft_teacher=RULES.model_copy(update=changes))


def method_of(student, teacher, scenes, **changes):
    truth = targets_of(scenes, scenes.boxes, scenes.ids[:8], torch.device("cpu"))
    return SoftTeacher(copy.deepcopy(student).train(), copy.deepcopy(teacher), scenes, truth, config_of(**changes))


def draw_of(scenes, unlabelled=3):
    return Draw(0, 2, scenes.ids[:2], scenes.ids[8:8 + unlabelled], stream(7))


def losses_of(method, scenes):
    torch.manual_seed(5)  # mmdet's samplers draw from the global generator
    return method.losses(draw_of(scenes))


@pytest.fixture
def one_stage(start, scenes):
    return lambda **changes: method_of(start, start, scenes, **changes)


@pytest.fixture
def two_stage(stages, scenes):
    return lambda **changes: method_of(*stages, scenes, **changes)


@pytest.fixture(params=["one_stage", "two_stage"])
def make_method(request):
    return request.getfixturevalue(request.param)


def theirs(method):
    """mmdet's own class around copies of the same two models."""
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    from mgral.detection.presets import model_config

    settings, rules = model_config(method.student.config, CLASSES), method.config.soft_teacher
    settings.pop("data_preprocessor")
    model = MODELS.build(ConfigDict(type="SoftTeacher", detector=settings, semi_train_cfg={
        "pseudo_label_initial_score_thr": rules.teacher_threshold, "rpn_pseudo_thr": rules.foreground_threshold,
        "cls_pseudo_thr": rules.foreground_threshold, "reg_pseudo_thr": rules.box_variance,
        "jitter_times": rules.jitters, "jitter_scale": soft_teacher.JITTER_SCALE,
        "unsup_weight": method.config.unlabelled_weight}))
    model.student.load_state_dict(method.student.model.state_dict())
    model.teacher.load_state_dict(method.teacher.model.state_dict())
    model.student.train()
    return model


def described(scenes, shown, truth=None):
    """mmdet's data samples of a view, with the matrix that its pipeline would have recorded."""
    infos = metas([scenes.canvas] * len(shown.pixels), scenes.canvas)
    return samples([info | {"homography_matrix": matrix.numpy()}
                    for info, matrix in zip(infos, shown.matrices, strict=True)], truth)


def test_losses_gradients_and_box_variances_are_those_of_mmdet(two_stage, scenes, monkeypatch):
    # mmdet clips pseudo boxes to the original image on the way and we do not: so the teacher's view only flips. And it
    # keeps the boxes of which the student's view shows next to nothing.
    monkeypatch.setattr(targets, "LEAST_VISIBLE", 0.0)
    monkeypatch.setattr(targets, "LEAST_SIDE", 0.01)
    monkeypatch.setattr(soft_teacher, "WEAK", replace(WEAK, scale=(1.0, 1.0), shift=0.0))
    monkeypatch.setattr(soft_teacher, "STRONGEST", replace(STRONGEST, shift=0.05, turn=10.0, shear=10.0))
    method = two_stage(box_variance=0.055)
    ours = losses_of(method, scenes)
    labels = method.pseudo_labels(replace(draw_of(scenes), generator=generator_after_truth(method, scenes)))

    model, draw = theirs(method), draw_of(scenes)
    labelled, truth = training_view(scenes, method.truth, draw.labelled, torch.device("cpu"), draw.generator)
    contents = contents_of(scenes, draw.unlabelled)
    weak, strong = (view(scenes.pixels(draw.unlabelled), contents, strength, draw.generator)
                    for strength in (soft_teacher.WEAK, soft_teacher.STRONGEST))
    torch.random.set_rng_state(draw.generator.get_state())  # there jitters come from the global generator
    pseudo, info = model.get_pseudo_instances(method.teacher.channels(weak.pixels), described(scenes, weak))
    variances = [pseudo_sample.gt_instances.reg_uncs for pseudo_sample in pseudo]
    pseudo = model.project_pseudo_instances(pseudo, described(scenes, strong))
    torch.manual_seed(5)
    expected = model.loss_by_gt_instances(method.student.channels(labelled.pixels), described(scenes, labelled, truth))
    expected |= model.loss_by_pseudo_instances(method.student.channels(strong.pixels), pseudo, info)
    expected = {name: sum(value) if isinstance(value, list) else value
                for name, value in expected.items() if "loss" in name}

    counts = [len(target) for target in labels.classified], [len(target) for target in labels.located]
    assert counts == ([int((sample.gt_instances.scores > 0.5).sum()) for sample in pseudo],
                      [int((sample.gt_instances.reg_uncs < 0.055).sum()) for sample in pseudo])
    assert min(map(sum, counts)) >= 3
    assert sum(counts[1]) < sum(map(len, variances))
    assert min(expected.values()) > 0
    actual = {name.replace("unlabelled/", "unsup_").replace("labelled/", "sup_"): loss for name, loss in ours.items()}
    torch.testing.assert_close(actual, expected, **CLOSE)
    sum(ours.values()).backward()
    sum(expected.values()).backward()
    gradients, expected_gradients = (
        {name: parameter.grad for name, parameter in network.named_parameters() if parameter.requires_grad}
        for network in (method.student.model, model.student))
    assert min(gradient.abs().max() for gradient in expected_gradients.values()) > 0
    for name, gradient in expected_gradients.items():
        assert (gradients[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), name
    torch.testing.assert_close(variances_of(method, weak, draw_of(scenes), scenes), variances, **CLOSE)


def generator_after_truth(method, scenes):
    draw = draw_of(scenes)
    method.sure(draw)
    return draw.generator


def variances_of(method, weak, draw, scenes):
    """Those of the boxes above the teacher's threshold, with the noise that follows the views in the draw's stream."""
    generator = generator_after_truth(method, scenes)
    method.adapter.views(scenes.pixels(draw.unlabelled), contents_of(scenes, draw.unlabelled), generator)
    return judged(method, weak.pixels, generator)[1]


def judged(method, pixels, generator):
    """Boxes above the teacher's threshold and their variances."""
    canvas = tuple(pixels.shape[-2:])
    with evaluating(method.teacher):
        evidence = method.adapter.evidence(method.teacher.features(pixels))
        detections = method.adapter.detections(evidence, [canvas] * len(pixels), canvas)
        likely = [tuple(part[scores >= 0.3] for part in (xyxy, scores, labels)) for xyxy, scores, labels in detections]
        return likely, [spread(boxes) for boxes in method.adapter.refined(evidence, likely, canvas, generator)]


def test_steadier_boxes_lie_better(make_method):
    """Figure 3 (c) of the paper."""
    scenes = Scenes(80, seed=1)
    detections, variances = judged(make_method(), scenes.pixels(scenes.ids), stream(0))
    quality = [box_iou(xyxy, torch.as_tensor(scenes.boxes[image_id].xyxy) * 2).amax(dim=1)
               for image_id, (xyxy, *_) in zip(scenes.ids, detections, strict=True)]
    quality = torch.cat(quality)[torch.cat(variances).argsort()]
    assert len(quality) > 100
    third = len(quality) // 3
    assert quality[:third].mean() > quality[-third:].mean()


@pytest.mark.parametrize("indicator", INDICATORS)
def test_a_proposal_weighs_what_the_indicator_says(two_stage, scenes, indicator):
    method = two_stage(indicator=indicator)
    losses, adapter, canvas = losses_of(method, scenes), method.adapter, scenes.canvas
    draw = draw_of(scenes)
    torch.manual_seed(5)
    labelled, truth = method.sure(draw)
    labels = method.pseudo_labels(draw)
    method.student.losses(labelled.pixels, truth)  # takes its random numbers
    features = method.student.features(labels.student_view.pixels)
    _, proposals = adapter.student_stages.propose(features, labels.classified, canvas)
    sampled = adapter.student_stages.sample(features, proposals, labels.classified)
    logits = adapter.student_stages.classify(features, sampled.xyxy)
    background = adapter._background(labels, sampled.xyxy, canvas)
    above = below = 0.0
    boxes = [(xyxy, image) for image, image_boxes in enumerate(sampled.xyxy) for xyxy in image_boxes.tolist()]
    assert len(boxes) == len(logits) == len(background) == len(sampled.labels)
    for row, ((box, image), label) in enumerate(zip(boxes, sampled.labels.tolist(), strict=True)):
        scores = logits[row].detach().softmax(dim=0)
        best = max([iou(box, pseudo_box) for pseudo_box in labels.classified[image].xyxy.tolist()], default=0.0)
        ours, theirs = scores[-1].item(), background[row].item()
        weight = 1.0 if label < 3 else {
            "none": 1.0, "iou": best, "reverse_iou": 1 - best, "prediction_difference": 1 - abs(ours - theirs),
            "student_background": ours, "teacher_background": theirs}[indicator]
        above, below = above - weight * math.log(scores[label]), below + weight
    assert (sampled.labels < 3).any()
    expected = WEIGHTS["soft_teacher"] * above / max(below, 1)
    assert losses["unlabelled/loss_cls"].item() == pytest.approx(expected, rel=1e-4)


def iou(first, second):
    width, height = (min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis]) for axis in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - both)


@pytest.mark.parametrize("indicator", INDICATORS)
def test_an_anchor_weighs_what_the_indicator_says(one_stage, scenes, indicator):
    """RetinaNet's focal loss anchor by anchor, alpha .25 and gamma 2, over the labelled half's positives."""
    method = one_stage(indicator=indicator)
    losses, head, draw = losses_of(method, scenes), method.student.head, draw_of(scenes)
    labelled, truth = method.sure(draw)
    labels = method.pseudo_labels(draw)
    known, unknown = method.features(labelled, labels.student_view)
    dense, teacher_dense = head.dense(unknown), labels.evidence
    positives = head.compare(head.dense(known), truth).by_image[2].clamp(min=1).sum()
    student_scores, teacher_scores = dense.logits.detach().sigmoid(), teacher_dense.logits.sigmoid()
    total = 0.0
    for image, target in enumerate(labels.classified):
        assigned = head._assign(dense.anchors, target.xyxy[None], torch.full((1, len(target)), True), [target])[0]
        assert (assigned >= 0).any()
        for row, assignment in enumerate(assigned.tolist()):
            if assignment not in (BACKGROUND, *range(len(target))):
                continue
            best = max(iou(dense.anchors[row].tolist(), pseudo_box) for pseudo_box in target.xyxy.tolist())
            empty, its_empty = 1 - student_scores[image, row].max().item(), 1 - teacher_scores[image, row].max().item()
            weight = 1.0 if assignment >= 0 else {
                "none": 1.0, "iou": best, "reverse_iou": 1 - best, "prediction_difference": 1 - abs(empty - its_empty),
                "student_background": empty, "teacher_background": its_empty}[indicator]
            for label, score in enumerate(student_scores[image, row].tolist()):
                hit = assignment >= 0 and target.labels[assignment] == label
                total -= weight * (0.25 * (1 - score) ** 2 * math.log(score) if hit
                                   else 0.75 * score ** 2 * math.log(1 - score))
    expected = WEIGHTS["soft_teacher"] * total / positives.item() * 2 / 3  # two labelled images, three unlabelled ones
    assert losses["unlabelled/loss_cls"].item() == pytest.approx(expected, rel=1e-3)


def test_indicators_by_hand():
    student, teacher, overlap = torch.tensor([0.9, 0.2]), torch.tensor([0.6, 0.3]), torch.tensor([0.1, 0.4])
    expected = {"none": [1, 1], "iou": [0.1, 0.4], "reverse_iou": [0.9, 0.6], "prediction_difference": [0.7, 0.9],
                "student_background": [0.9, 0.2], "teacher_background": [0.6, 0.3]}
    for name, values in expected.items():
        assert reliability(name, student, teacher, overlap).tolist() == pytest.approx(values)


def test_without_its_ideas_the_anchor_form_is_plain_pseudo_labelling(one_stage, scenes):
    method = one_stage(indicator="none", box_variance=None)
    losses, draw = losses_of(method, scenes), draw_of(scenes)
    labelled, truth = method.sure(draw)
    labels = method.pseudo_labels(draw)
    student = method.student
    sure = student.losses(labelled.pixels, truth)
    with statistics_kept(student):
        unsure = student.losses(labels.student_view.pixels, labels.classified)
    positives = torch.cat([student.head._measure(student.features(shown.pixels), targets).by_image[2].clamp(min=1)
                           for shown, targets in ((labelled, truth), (labels.student_view, labels.classified))])
    scale = WEIGHTS["soft_teacher"] * positives[2:].sum() / positives[:2].sum() * 2 / 3
    assert positives[2:].sum() > 3
    for name in ("loss_cls", "loss_bbox"):
        torch.testing.assert_close(losses[f"labelled/{name}"], sure[name])
        torch.testing.assert_close(losses[f"unlabelled/{name}"], unsure[name] * scale)


def test_without_its_ideas_proposals_are_classified_as_in_supervised_training(two_stage, scenes):
    method = two_stage(indicator="none", box_variance=None)
    losses, draw = losses_of(method, scenes), draw_of(scenes)
    labelled, truth = method.sure(draw)
    labels = method.pseudo_labels(draw)
    torch.manual_seed(5)
    sure = method.student.losses(labelled.pixels, truth)
    unsure = method.student.losses(labels.student_view.pixels, labels.classified)
    for name, value in sure.items():
        torch.testing.assert_close(losses[f"labelled/{name}"], value)
    for name in ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls"):  # the boxes are another sample of proposals
        torch.testing.assert_close(losses[f"unlabelled/{name}"], WEIGHTS["soft_teacher"] * unsure[name])


def test_no_box_is_stable_enough_for_a_variance_of_zero(make_method, scenes):
    losses, plain = losses_of(make_method(box_variance=0.0), scenes), losses_of(make_method(box_variance=1e9), scenes)
    assert losses["unlabelled/loss_bbox"].item() == 0
    assert plain["unlabelled/loss_bbox"].item() > 0
    torch.testing.assert_close(losses["unlabelled/loss_cls"], plain["unlabelled/loss_cls"])
    sum(losses.values()).backward()


def test_fewer_boxes_are_located_the_steadier_they_must_be(make_method, scenes):
    counts = [sum(map(len, make_method(box_variance=most).pseudo_labels(draw_of(scenes)).located))
              for most in (0.01, 0.08, 1e9)]
    assert counts[0] <= counts[1] <= counts[2]
    assert counts[0] < counts[2]


def test_spread_by_hand():
    boxes = torch.tensor([[[10.0, 10, 30, 50]], [[12, 10, 32, 54]]])  # 20 wide, 42 high on average
    deviation = math.sqrt(2)
    assert spread(boxes).item() == pytest.approx((deviation / 20 * 2 + 0 + 2 * deviation / 42) / 4)


def test_jitters_come_from_the_generator_and_scale_with_the_box():
    boxes = torch.tensor([[0.0, 0, 10, 40], [5, 5, 5.1, 5.1]])
    first, second, third = (jittered(boxes, 4000, 0.06, stream(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    expected = torch.tensor([[0.6, 2.4, 0.6, 2.4], [0.06] * 4])  # a side counts as one pixel at least
    torch.testing.assert_close(first.std(dim=0), expected, rtol=0.05, atol=0)
    torch.testing.assert_close(first.mean(dim=0), boxes, rtol=0, atol=0.15)


def test_the_same_draw_gives_the_same_losses(make_method, scenes):
    first, second = (losses_of(make_method(), scenes) for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_without_pseudo_boxes_losses_are_finite(make_method, scenes):
    method = make_method(teacher_threshold=1.0, foreground_threshold=1.0)
    assert sum(map(len, method.pseudo_labels(draw_of(scenes)).classified)) == 0
    losses = losses_of(method, scenes)
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.student.parameters()
               if parameter.grad is not None)


def test_the_teacher_learns_nothing_by_gradient(make_method, scenes):
    method = make_method()
    sum(losses_of(method, scenes).values()).backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


@pytest.mark.parametrize(("scheme", "staged"), [("ema", False), ("end_to_end", False), ("multi_stage", True)])
def test_the_teacher_of_each_scheme(one_stage, scenes, scheme, staged):
    method = one_stage(scheme=scheme)
    before, name = copy.deepcopy(method.teacher.state_dict()), "model.backbone.bn1.running_mean"
    values = []
    for step in range(3):
        method.student.state_dict()[name].add_(step + 1.0)
        values.append(method.student.state_dict()[name].clone())
        method.after(step)
    expected = {"ema": torch.stack(values).mean(dim=0), "end_to_end": values[-1], "multi_stage": before[name]}[scheme]
    torch.testing.assert_close(method.teacher.state_dict()[name], expected)
    assert SoftTeacher.is_staged(method.config) is staged
    assert method.result is (method.student if staged else method.teacher)


def test_a_trained_detector_labels_for_a_new_one(start, scenes, labelled):
    new = build_detector(DetectorConfig(image_size=64), CLASSES, seed=3)
    config = config_of(scheme="multi_stage")
    first, second = (method_training(new, scenes, labelled, scenes.ids[8:16], config, 0, teacher).run().state_dict()
                     for teacher in (start, None))
    assert any(not torch.equal(value, second[name]) for name, value in first.items())


def test_two_stages_learn(stages, scenes, labelled):
    first, second = (method_training(stages[0], scenes, labelled, scenes.ids[8:16], config_of(), 0).run().state_dict()
                     for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, stages[0].state_dict()[name]) for name, value in first.items())


class Landscape(Scenes):
    """The first images are wide, the others high."""

    def content(self, image_id):
        return (40, 64) if image_id in self.ids[:8] else (64, 40)


@pytest.mark.parametrize("kind", ["start", "stages"])
def test_no_labelled_image_of_one_orientation(request, labelled, kind):
    detector = request.getfixturevalue(kind)
    detector = detector if kind == "start" else detector[0]
    scenes = Landscape(24)
    steps = list(method_training(detector, scenes, labelled, scenes.ids[8:16], config_of(), 0))
    assert all(math.isfinite(step.loss) for step in steps)
    assert len(steps) == 2


def test_detectors_that_it_cannot_ask_are_refused(tmp_path, stages, start):
    path = tmp_path / "model.py"
    path.write_text(DENSE)
    points = build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0)
    assert "FCOS has neither proposals nor RetinaNet's anchors" in SoftTeacher.refusal(points)
    assert SoftTeacher.refusal(start) is SoftTeacher.refusal(stages[0]) is None
    sigmoid = copy.deepcopy(stages[0])
    sigmoid.model.roi_head.bbox_head.loss_cls.use_sigmoid = True
    assert SoftTeacher.refusal(sigmoid) == "its RoI head gives no probability of background"


def test_a_foreground_below_what_is_considered_is_refused():
    with pytest.raises(ValidationError, match="expected a foreground_threshold of at least teacher_threshold, got 0.4"):
        SoftTeacherConfig(foreground_threshold=0.4)
