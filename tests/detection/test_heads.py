import pytest
import torch

from mgral.config import DetectorConfig
from mgral.detection.anchors import AnchorHead
from mgral.detection.building import build_detector
from mgral.detection.detector import head_of
from mgral.detection.heads import DenseHead, quality_loss, surest
from mgral.detection.targets import Target
from mgral.errors import ConfigError
from tests.detection.scenes import CLASSES, target

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
    for head in (AnchorHead(model.model.bbox_head), DenseHead(model.model.bbox_head)):
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
    assert AnchorHead.fits(head)
    torch.testing.assert_close(AnchorHead(head).losses(features, targets, CANVAS),
                               DenseHead(head).losses(features, targets, CANVAS))


@pytest.mark.parametrize("nms_pre", [50, 1000, -1])
def test_batched_detections_are_those_of_mmdet(model, nms_pre):
    model.model.bbox_head.test_cfg["nms_pre"] = nms_pre
    contents = [(96, 96), (60, 96), (96, 50), (33, 44)]
    with torch.inference_mode():
        fast = AnchorHead(model.model.bbox_head).read(features_of(model, seed=1), contents, CANVAS, 50)
        slow = DenseHead(model.model.bbox_head).read(features_of(model, seed=1), contents, CANVAS, 50)
    assert min(len(scores) for _, scores, _ in fast[0]) > 20
    torch.testing.assert_close([list(one) for one in fast[0]], [list(one) for one in slow[0]])
    torch.testing.assert_close(fast[1], slow[1])


def test_regions_to_ignore_count_in_images_without_objects(model):
    head, features = model._head, features_of(model, 1)
    whole = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.tensor([[-200.0, -200, 300, 300]]))
    assert head.losses(features, [whole], CANVAS)["loss_cls"].item() == 0
    assert head.losses(features, [target(0)], CANVAS)["loss_cls"].item() > 0


def test_groups_have_their_own_normalisation(model):
    targets, features = [target(count, seed=count) for count in (3, 0, 5, 1)], features_of(model)
    first, second = model._head.group_losses(features, targets, [1, 3], CANVAS)
    torch.testing.assert_close(first, model._head.losses([one[:1] for one in features], targets[:1], CANVAS))
    torch.testing.assert_close(second, model._head.losses([one[1:] for one in features], targets[1:], CANVAS))


def test_object_losses_add_up_to_the_loss_of_all_positives(model):
    """Weighted by its anchors, each box's loss gives back the sum over all assigned anchors."""
    features, targets = features_of(model, 2), [target(3, seed=1), target(1, seed=2)]
    measured = model._head._measure(features, targets)
    image, place, truth = measured.positive
    objects = model._head.object_losses(features, targets, CANVAS)
    assert [len(one) for one in objects] == [3, 1]
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
    assert sum(one.grad.abs().sum() for one in foreign.parameters() if one.grad is not None) > 0
    assert len(foreign.group_losses(pixels, targets, [2, 1])) == 2
    with torch.inference_mode():
        seen = foreign.eval().inspect(pixels, [(64, 64), (32, 64), (64, 40)])
        found, _, objects = foreign.assess(pixels, [(64, 64)] * 3, targets)
    assert seen.embedding.shape == (3, 256)
    assert seen.class_scores.shape == (3, 50, 3)
    assert seen.class_scores.amax(dim=2).diff(dim=1).max() <= 0
    assert seen.class_scores.min() >= 0
    assert seen.class_scores.max() <= 1
    assert all(boxes[:, 3].max() <= 32 for boxes, *_ in seen.found[1:2] if len(boxes))
    assert len(found) == 3
    assert [len(one) for one in objects] == [2, 0, 1]
    assert all(torch.isfinite(one).all() for one in objects)


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match="expected a one-stage or two-stage detector, got Linear"):
        head_of(torch.nn.Linear(1, 1))


def test_one_class():
    detector = build_detector(DetectorConfig(), CLASSES[:1], seed=0)
    losses = detector.losses(torch.zeros(2, 3, 64, 64), [target(2, classes=1), target(0)])
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.inference_mode():
        assert detector.eval().inspect(torch.zeros(1, 3, 64, 64), [(64, 64)]).class_scores.shape == (1, 50, 1)
