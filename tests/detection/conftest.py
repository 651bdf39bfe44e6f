import pytest

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector
from tests.detection.scenes import CLASSES


@pytest.fixture
def detector():
    return build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)


TWO_STAGE = """
norm = dict(type='BN', requires_grad=True)
coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.] * 4, target_stds=[.1, .1, .2, .2])
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[103.5, 116.3, 123.7], std=[1., 1., 1.], bgr_to_rgb=False),
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm, norm_eval=False),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16, bbox_coder=coder,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[.5, 1., 2.], strides=[4, 8, 16, 32, 64]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(type='SingleRoIExtractor', out_channels=16, featmap_strides=[4, 8, 16, 32],
                                roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, roi_feat_size=7, num_classes=80,
                       bbox_coder=coder, reg_class_agnostic=False,
                       loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=dict(type='L1Loss'))),
    train_cfg=dict(
        rpn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=.7, neg_iou_thr=.3, min_pos_iou=.3),
                 sampler=dict(type='RandomSampler', num=64, pos_fraction=.5, add_gt_as_proposals=False),
                 allowed_border=-1, pos_weight=-1),
        rpn_proposal=dict(nms_pre=200, max_per_img=100, nms=dict(type='nms', iou_threshold=.7), min_bbox_size=0),
        rcnn=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=.5, neg_iou_thr=.5, min_pos_iou=.5),
                  sampler=dict(type='RandomSampler', num=64, pos_fraction=.25), pos_weight=-1)),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=60, nms=dict(type='nms', iou_threshold=.7), min_bbox_size=0),
                  rcnn=dict(score_thr=.05, nms=dict(type='nms', iou_threshold=.5), max_per_img=20)))
"""

DENSE = """
model = dict(
    type='FCOS',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_eval=False),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    bbox_head=dict(type='FCOSHead', num_classes=80, in_channels=16, feat_channels=16, stacked_convs=1,
                   strides=[4, 8, 16, 32, 64], norm_cfg=None),
    train_cfg=None,
    test_cfg=dict(nms_pre=100, score_thr=.001, nms=dict(type='nms', iou_threshold=.5), max_per_img=20))
"""


@pytest.fixture(params=[TWO_STAGE, DENSE], ids=["two-stage", "dense"])
def foreign(request, tmp_path):
    """A detector from a config file of the user, of a kind that is read by mmdet's own code."""
    path = tmp_path / "model.py"
    path.write_text(request.param)
    return build_detector(DetectorConfig(config=str(path), image_size=64), CLASSES, seed=0)
