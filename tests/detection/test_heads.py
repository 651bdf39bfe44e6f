import copy

import pytest
import torch
from torchvision.ops import box_iou

from mgral.config import DetectorConfig
from mgral.detection.anchors import RetinaHead, SSDHead
from mgral.detection.building import build_detector
from mgral.detection.detector import head_of
from mgral.detection.heads import DenseHead, quality_loss, surest
from mgral.detection.targets import Target
from mgral.errors import ConfigError
from tests.detection.scenes import CLASSES, Scenes, target

CANVAS = (96, 96)
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")  # mmdet's point generator


@pytest.fixture
def model(detector):
    """A detector that is sure of many places, so that every branch has work."""
    head = detector.model.bbox_head
    with torch.no_grad():
        head.retina_cls.weight.mul_(8)
        head.retina_cls.bias.fill_(-1.0)
        head.retina_reg.weight.mul_(20)
    return detector.eval()


def features_of(model, images=4, seed=0):
    pixels = torch.rand(images, 3, *CANVAS, generator=torch.Generator().manual_seed(seed)) * 255
    return [level.detach().requires_grad_() for level in model.features(pixels)]


@pytest.mark.parametrize("ignored", [0, 2])
@pytest.mark.parametrize("counts", [(3, 0, 5, 1), (0, 0, 0, 0), (12, 1, 1, 2)])
def test_batched_losses_are_those_of_mmdet(model, counts, ignored):
    # mmdet forgets regions to ignore in images without objects; so the test gives such images none.
    targets = [target(count, ignored if count else 0, seed=row) for row, count in enumerate(counts)]
    features, weights = features_of(model), list(model.model.bbox_head.parameters())
    results = []
    for head in (RetinaHead(model.model.bbox_head), DenseHead(model.model.bbox_head)):
        losses = head.losses(features, targets, CANVAS)
        results.append((losses, torch.autograd.grad(sum(losses.values()), features + weights)))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("changes", [
    {"reg_decoded_bbox": True, "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0}},
    {"loss_bbox": {"type": "SmoothL1Loss", "beta": 0.1}},
])
@pytest.mark.parametrize("counts", [(3, 0), (0, 0)])
def test_batched_losses_are_those_of_mmdet_for_other_settings(model, changes, counts):
    from mmdet.registry import MODELS

    from mgral.detection.presets import tiny

    settings = tiny(3)
    head = MODELS.build(settings["bbox_head"] | changes | {
        "train_cfg": settings["train_cfg"] | {"assigner": settings["train_cfg"]["assigner"] | {
            "match_low_quality": False}}, "test_cfg": settings["test_cfg"]})
    targets = [target(count, seed=row) for row, count in enumerate(counts)]
    features = features_of(model, 2)
    assert RetinaHead.fits(head)
    torch.testing.assert_close(RetinaHead(head).losses(features, targets, CANVAS),
                               DenseHead(head).losses(features, targets, CANVAS))


@pytest.fixture(scope="module")
def ssd():
    """SSD300 that is sure of many places, and its features on a canvas that is not square."""
    model = build_detector(DetectorConfig(preset="ssd300", width=0.125, image_size=300), CLASSES, seed=0).eval()
    pixels = torch.rand(4, 3, 288, 320, generator=torch.Generator().manual_seed(0)) * 255
    features = [level.detach() for level in model.features(pixels)]
    # Of size one: of larger ones many probabilities would round to the same 1, and their order be anyone's.
    return model, [(level / level.square().mean().sqrt()).requires_grad_() for level in features]


@pytest.mark.parametrize("changes", [{}, {"gt_max_assign_all": True}, {"neg_iou_thr": 0.3},
                                     {"ignore_iof_thr": 0.5, "min_pos_iou": 0.2}])
@pytest.mark.parametrize("counts", [(3, 0, 5, 1), (0, 0, 0, 0), (12, 1, 40, 2)])
def test_mined_losses_are_those_of_mmdet(ssd, monkeypatch, counts, changes):
    model, features = ssd
    head, canvas = model.model.bbox_head, (288, 320)
    for name, value in changes.items():
        monkeypatch.setattr(head.assigner, name, value)
    targets = [target(count, 2 if count else 0, side=250, seed=row) for row, count in enumerate(counts)]
    results = []
    assert type(model._head) is SSDHead
    for wrapped in (model._head, DenseHead(head)):
        losses = wrapped.losses(features, targets, canvas)
        results.append((losses, torch.autograd.grad(sum(losses.values()), features + list(head.parameters()))))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("nms_pre", [50, 1000, -1])
def test_mined_detections_are_those_of_mmdet(ssd, monkeypatch, nms_pre):
    model, features = ssd
    monkeypatch.setitem(model.model.bbox_head.test_cfg, "nms_pre", nms_pre)
    contents = [(288, 320), (200, 300), (288, 50), (33, 44)]
    with torch.inference_mode():
        fast, slow = (head.read(features, contents, (288, 320), 50)
                      for head in (model._head, DenseHead(model.model.bbox_head)))
    assert min(len(scores) for _, scores, _ in fast[0]) > 5
    torch.testing.assert_close([list(image) for image in fast[0]], [list(image) for image in slow[0]])
    torch.testing.assert_close(fast[1], slow[1])


def test_mined_places_do_not_change_the_losses_of_objects(ssd):
    head, features = ssd[0]._head, ssd[1]
    targets = [target(count, side=250, seed=count) for count in (3, 0, 5, 1)]
    objects = head.object_losses(features, targets, (288, 320))
    assert [len(losses) for losses in objects] == [3, 0, 5, 1]
    assert torch.isfinite(torch.cat(objects)).all()


def test_a_softmax_head_has_the_background_as_last_dense_class(ssd):
    dense = ssd[0]._head.dense(ssd[1])
    assert dense.sizes == [(36, 40), (18, 20), (9, 10), (5, 5), (3, 3), (1, 1)]
    assert dense.logits.shape == (4, 4 * 36 * 40 + 6 * (18 * 20 + 90 + 25) + 4 * 10, 4)
    assert dense.deltas.shape[1] == len(dense.anchors) == dense.logits.shape[1]
    assert dense.anchors[4 * 41].add(dense.anchors[4 * 41].roll(2)).div(2).tolist() == [12, 12, 12, 12]


def test_any_place_counts_when_sampling_is_not_exact(ssd):
    from mmdet.models.task_modules import RandomSampler

    head = copy.deepcopy(ssd[0].model.bbox_head)
    head.sampler = RandomSampler(8, 0.5)
    assert not SSDHead.fits(head)
    assert not RetinaHead.fits(head)


@pytest.mark.parametrize("nms_pre", [50, 1000, -1])
def test_batched_detections_are_those_of_mmdet(model, nms_pre):
    model.model.bbox_head.test_cfg["nms_pre"] = nms_pre
    contents = [(96, 96), (60, 96), (96, 50), (33, 44)]
    with torch.inference_mode():
        fast = RetinaHead(model.model.bbox_head).read(features_of(model, seed=1), contents, CANVAS, 50)
        slow = DenseHead(model.model.bbox_head).read(features_of(model, seed=1), contents, CANVAS, 50)
    assert min(len(scores) for _, scores, _ in fast[0]) > 20
    torch.testing.assert_close([list(image) for image in fast[0]], [list(image) for image in slow[0]])
    torch.testing.assert_close(fast[1], slow[1])


def test_dense_outputs_are_those_of_mmdet_in_its_order(model):
    features = features_of(model, 2)
    dense = model._head.dense(features)
    scores, deltas = model.model.bbox_head(features)
    assert dense.sizes == [(24, 24), (12, 12), (6, 6), (3, 3)]
    assert dense.logits.shape == (2, 3 * (576 + 144 + 36 + 9), 3)
    place = 3 * 576 + 3 * (2 * 12 + 5) + 1  # level 1, row 2, column 5, anchor 1
    torch.testing.assert_close(dense.logits[1, place], scores[1][1, 3:6, 2, 5])
    torch.testing.assert_close(dense.deltas[1, place], deltas[1][1, 4:8, 2, 5])
    assert ((dense.anchors[place, :2] + dense.anchors[place, 2:]) / 2).tolist() == [5 * 8, 2 * 8]
    assert torch.autograd.grad(dense.logits.sum(), features[0])[0].abs().sum() > 0


def test_dense_outputs_of_a_batch_of_pixels(model):
    pixels = Scenes(2).pixels(["scene-0", "scene-1"])
    dense = model.dense(pixels)
    with torch.inference_mode():
        scores = model.inspect(pixels, [(64, 64)] * 2, 1).class_scores[:, 0]
    rows = dense.logits.amax(dim=2).argmax(dim=1)
    torch.testing.assert_close(dense.logits.sigmoid()[[0, 1], rows].detach(), scores)


def test_without_anchors_there_are_no_dense_outputs(foreign):
    with pytest.raises(ConfigError, match=r"dense outputs: expected a one-stage detector with anchors, got F"):
        foreign.dense(torch.zeros(1, 3, 64, 64))


def test_regions_to_ignore_count_in_images_without_objects(model):
    head, features = model._head, features_of(model, 1)
    whole = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.tensor([[-200.0, -200, 300, 300]]))
    assert head.losses(features, [whole], CANVAS)["loss_cls"].item() == 0
    assert head.losses(features, [target(0)], CANVAS)["loss_cls"].item() > 0


def test_looks_are_the_boxes_of_the_anchors_that_overlap_most(model):
    head, dense = model.head, model.head.dense(features_of(model, 2))
    boxes = [target(3).xyxy, target(0).xyxy]
    looks = head.looks(dense, boxes, 5, CANVAS)
    assert [image.shape for image in looks] == [(5, 3, 4), (5, 0, 4)]
    for column, box in enumerate(boxes[0]):
        overlaps = box_iou(box[None], dense.anchors)[0]
        surely = overlaps > overlaps.sort(descending=True).values[5]  # more than the sixth, so there is no choice
        moved = head.head.bbox_coder.decode(dense.anchors[surely], dense.deltas[0, surely]).clamp(0, 96)
        assert surely.any()
        for xyxy in moved:
            assert (looks[0][:, column] - xyxy).abs().amax(dim=1).min() < 1e-4
    assert looks[0].min() >= 0
    assert looks[0].max() <= 96


def test_object_losses_add_up_to_the_loss_of_all_positives(model):
    """Weighted by its anchors, each box's loss gives back the sum over all assigned anchors."""
    features, targets = features_of(model, 2), [target(3, seed=1), target(1, seed=2)]
    measured = model._head._measure(features, targets)
    image, place, truth = measured.positive
    objects = model._head.object_losses(features, targets, CANVAS)
    assert [len(losses) for losses in objects] == [3, 1]
    total = sum(objects[i][t] for i, t in zip(image.tolist(), truth.tolist(), strict=True))
    torch.testing.assert_close(total, measured.classification[image, place].sum() + measured.box.sum())


def test_a_box_whose_anchors_another_took_has_no_loss(model):
    twin = target(1)
    both = Target(twin.xyxy.repeat(2, 1), torch.tensor([0, 1]), twin.ignore)
    losses = model._head.object_losses(features_of(model, 1), [both], CANVAS)[0]
    assert losses.isnan().sum() == 1


def test_quality_loss_by_hand():
    wanted = Target(torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), torch.tensor([0, 1]), torch.zeros(0, 4))
    boxes = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 10], [20, 20, 30, 30]])
    loss = quality_loss(wanted, boxes, torch.tensor([0.8, 0.3, 0.9]), torch.tensor([0, 0, 0]))
    torch.testing.assert_close(loss.exp(), torch.tensor([1 / 0.4, 1000.0]))
    assert quality_loss(wanted, boxes[:0], torch.zeros(0), torch.zeros(0)).exp().tolist() == pytest.approx([1e3, 1e3])


def test_surest_places_come_first_and_zeros_fill_up():
    probabilities = torch.tensor([[[0.1, 0.2], [0.9, 0.0], [0.3, 0.4]]])
    assert torch.equal(surest(probabilities, 2), probabilities[:, 1:])
    assert surest(probabilities, 4)[0, 3].tolist() == [0, 0]


def test_foreign_detectors_train_and_read(foreign):
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    targets = [target(2, 1, side=64), target(0), target(1, side=64, seed=1)]
    losses = foreign.train().losses(pixels, targets)
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert sum(weight.grad.abs().sum() for weight in foreign.parameters() if weight.grad is not None) > 0
    with torch.inference_mode():
        seen = foreign.eval().inspect(pixels, [(64, 64), (32, 64), (64, 40)])
        detections, _, objects = foreign.assess(pixels, [(64, 64)] * 3, targets)
    assert seen.embedding.shape == (3, 256)
    assert seen.class_scores.shape == (3, 50, 3)
    assert seen.class_scores.amax(dim=2).diff(dim=1).max() <= 0
    assert seen.class_scores.min() >= 0
    assert seen.class_scores.max() <= 1
    assert all(boxes[:, 3].max() <= 32 for boxes, *_ in seen.found[1:2] if len(boxes))
    assert len(detections) == 3
    assert [len(losses) for losses in objects] == [2, 0, 1]
    assert all(torch.isfinite(losses).all() for losses in objects)


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match="expected a one-stage or two-stage detector, got Linear"):
        head_of(torch.nn.Linear(1, 1))


def test_one_class():
    detector = build_detector(DetectorConfig(), CLASSES[:1], seed=0)
    losses = detector.losses(torch.zeros(2, 3, 64, 64), [target(2, classes=1), target(0)])
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.inference_mode():
        assert detector.eval().inspect(torch.zeros(1, 3, 64, 64), [(64, 64)]).class_scores.shape == (1, 50, 1)
