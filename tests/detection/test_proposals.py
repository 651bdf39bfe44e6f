import pytest
import torch

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector
from mgral.detection.heads import metas
from mgral.detection.proposals import Stages
from tests.detection.conftest import TWO_STAGE
from tests.detection.scenes import CLASSES, target

CANVAS = (64, 64)


@pytest.fixture(params=["reg_class_agnostic=False", "reg_class_agnostic=True"])
def detector(request, tmp_path):
    path = tmp_path / "model.py"
    path.write_text(TWO_STAGE.replace("reg_class_agnostic=False", request.param))
    return build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0).eval()


def features_of(detector, images=3):
    return detector.features(torch.rand(images, 3, *CANVAS, generator=torch.Generator().manual_seed(0)) * 255)


def test_boxes_are_classified_and_refined_as_in_detection(detector):
    from mmengine.structures import InstanceData

    stages, features = Stages(detector.model), features_of(detector)
    boxes = [target(count, side=64, seed=count).xyxy for count in (4, 0, 2)]
    labels = [torch.tensor([0, 1, 2, 1]), torch.tensor([], dtype=torch.int64), torch.tensor([2, 0])]
    with torch.no_grad():
        scores = stages.classify(features, boxes).softmax(dim=1).split([4, 0, 2])
        refined = stages.refine(features, boxes, labels, CANVAS)
        results = detector.model.roi_head.predict_bbox(
            features, metas([CANVAS] * 3, CANVAS), [InstanceData(bboxes=xyxy) for xyxy in boxes], rcnn_test_cfg=None)
    for image in (0, 2):
        torch.testing.assert_close(scores[image], results[image].scores)
        by_class = results[image].bboxes.reshape(len(boxes[image]), -1, 4).expand(-1, 3, 4)
        torch.testing.assert_close(refined[image], by_class[torch.arange(len(boxes[image])), labels[image]])
    assert refined[1].shape == (0, 4)
    with torch.no_grad():
        empty = stages.refine(features, [boxes[1]] * 3, [labels[1]] * 3, CANVAS)
    assert [len(xyxy) for xyxy in empty] == [0, 0, 0]


def test_step_by_step_the_losses_are_those_of_the_whole(detector):
    targets = [target(3, side=64), target(0), target(2, ignored=1, side=64, seed=1)]
    stages, features = Stages(detector.model), features_of(detector)
    torch.manual_seed(0)
    whole = detector.head.losses(features, targets, CANVAS)
    torch.manual_seed(0)
    parts, proposals = stages.propose(features, targets, CANVAS)
    sampled = stages.sample(features, proposals, targets)
    logits = stages.classify(features, sampled.xyxy)
    parts["loss_cls"] = stages.classification_losses(logits, sampled.labels).mean()
    parts["loss_bbox"] = stages.box_loss(features, sampled)
    torch.testing.assert_close(parts, whole)
    assert not any(xyxy.requires_grad for xyxy in proposals)
    assert (sampled.weights == 1).all()
    assert (sampled.labels < stages.background).any()
    assert (sampled.labels == stages.background).any()


def test_a_cascade_is_refused(detector):
    class Cascade(torch.nn.Module):
        pass

    assert Stages.refusal(detector.model) is None
    detector.model.roi_head = Cascade()
    assert Stages.refusal(detector.model) == "Cascade is not a RoI head of one stage"
