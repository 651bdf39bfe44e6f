"""What holds for every detector: each preset, narrowed so that it learns within seconds, and a config of mmdet."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from mgral.config import DetectorConfig, TrainingConfig
from mgral.data.dataset import Boxes, Dataset, ImageInfo
from mgral.data.images import ImageStore
from mgral.detection import build_detector, detect, evaluate, inspect, load_checkpoint, save_checkpoint
from mgral.training.supervised import supervised_training
from tests.detection.scenes import CLASSES, Scenes, ap50_of, learn_by_heart, target
from tests.detection.weights import needs_weights

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")  # mmdet's point generator

FCOS = """
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_eval=False),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, stacked_convs=1, norm_cfg=dict(type='GN', num_groups=8)))
"""
SIDE = {"tiny": 64, "lite0": 64, "ssd300": 264, "retinanet_r50": 128, "faster_rcnn_r50": 96, "fcos": 128}
"""Pixels a side of the scenes: those on which each family's own anchors fit the objects."""
# SSD has no norm layers, so it needs updates rather than images: 60 on four images leave it at AP50 .4, 160 on two
# bring it to .8 or above in the same time. Batch norm wants it the other way round: eight images a step.
LEARNING = {
    "tiny": TrainingConfig(steps=100, batch_size=4, lr=5e-3),
    "lite0": TrainingConfig(steps=100, batch_size=4, lr=5e-3),
    "ssd300": TrainingConfig(steps=160, batch_size=2, lr=3e-3),
    "retinanet_r50": TrainingConfig(steps=140, batch_size=8, lr=5e-3),
    "faster_rcnn_r50": TrainingConfig(steps=100, batch_size=4, lr=4e-3),
    "fcos": TrainingConfig(steps=120, batch_size=8, lr=5e-3),
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs_weights if name == "lite0" else ())
                                        for name in SIDE])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def config(name, tmp_path_factory):
    size = max(SIDE[name], 300 if name == "ssd300" else 0)
    if name != "fcos":
        return DetectorConfig(preset=name, width=1.0 if name in ("tiny", "lite0") else 0.125, image_size=size)
    path = tmp_path_factory.mktemp("fcos") / "model.py"
    path.write_text(FCOS)
    return DetectorConfig(config=str(path), image_size=size)


@pytest.fixture(scope="module")
def fresh(config):
    return build_detector(config, CLASSES, seed=0)


@pytest.fixture(scope="module")
def learned(name, fresh):
    """Eight images learned by heart: the detector, the images, the losses on the way.

    With a second object in some of them the narrowed presets need about twice as long: more than a test has.
    """
    objects = (1, 2) if name in ("tiny", "lite0") else (1, 1)
    scenes, detector = Scenes(8, side=SIDE[name], objects=objects), copy.deepcopy(fresh)
    losses = learn_by_heart(detector, scenes, LEARNING[name])
    return detector.eval(), scenes, losses


def test_losses_fall_within_a_few_steps(name, fresh):
    scenes, detector = Scenes(10, side=SIDE[name], seed=1), copy.deepcopy(fresh)
    config = TrainingConfig(steps=10, batch_size=4, lr=1e-3)
    losses = [step.loss for step in supervised_training(detector, scenes, scenes.boxes, scenes.ids, config, 0)]
    assert np.isfinite(losses).all()
    assert sum(losses[-3:]) < sum(losses[:3])


def test_eight_images_are_learned_by_heart(learned):
    detector, scenes, losses = learned
    assert np.isfinite(losses).all()
    assert sum(losses[-5:]) < sum(losses[:5])
    assert ap50_of(detector, scenes) > 0.9


def test_boxes_are_in_pixels_of_the_original(learned):
    detector, scenes, _ = learned
    first, twice = copy.copy(scenes), copy.copy(scenes)
    first.scale, twice.scale = (lambda image_id: 1.0), (lambda image_id: 0.5)
    plain = detect(detector, first, scenes.ids[:1])["scene-0"]
    doubled = detect(detector, twice, scenes.ids[:1])["scene-0"]
    assert len(plain.scores)
    np.testing.assert_allclose(doubled.xyxy, 2 * plain.xyxy, rtol=1e-6)


def test_a_checkpoint_predicts_the_same(learned, tmp_path):
    detector, scenes, _ = learned
    save_checkpoint(tmp_path / "detector.pt", detector)
    before, after = (detect(model, scenes, scenes.ids[:3])
                     for model in (detector, load_checkpoint(tmp_path / "detector.pt")))
    for image_id, detections in before.items():
        np.testing.assert_array_equal(detections.xyxy, after[image_id].xyxy)
        np.testing.assert_array_equal(detections.scores, after[image_id].scores)
        np.testing.assert_array_equal(detections.labels, after[image_id].labels)


def test_embeddings_are_finite_and_tell_images_apart(learned):
    detector, scenes, _ = learned
    embedding = inspect(detector, scenes, scenes.ids[:4]).embedding
    assert embedding.shape == (4, 256)
    assert np.isfinite(embedding).all()
    assert embedding.std(axis=0).max() > 1e-4


def test_more_padding_hardly_moves_embeddings_apart(learned, name):
    """How far 64 pixels of padding move an image, as a share of the largest distance between two images.

    They move by .1 to .9, nearly all of it in the maps of one to six cells a side, whose cells see beyond so small an
    image. But most of that is the same for every image; what is left, .02 to .27 over four seeds of each detector, is
    all that moves them apart.
    """
    detector, scenes, _ = learned
    side = SIDE[name]
    small = scenes.pixels(scenes.ids)
    large = torch.nn.functional.pad(small, (0, 64, 0, 64), value=114)
    with torch.inference_mode():
        near, far = (detector.inspect(pixels, [(side, side)] * 8).embedding for pixels in (small, large))
    spread, moves = (near[:, None] - near).norm(dim=2).max(), far - near
    assert (moves - moves.mean(dim=0)).norm(dim=1).max() < 0.5 * spread


def test_images_without_objects(fresh, name):
    scenes, detector = Scenes(2, side=SIDE[name], objects=(0, 0)), copy.deepcopy(fresh).train()
    pixels = scenes.pixels(scenes.ids)
    loss = torch.stack(list(detector.losses(pixels, [target(0), target(0)]).values())).sum()
    loss.backward()
    gradients = [weight.grad for weight in detector.parameters() if weight.grad is not None]
    assert torch.isfinite(loss)
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    detections = detect(detector, scenes, scenes.ids)
    truth = {"scene-0": Boxes.of([(1, 1, 20, 20)], [0]), "scene-1": Boxes.of()}
    assert 0 <= evaluate(detections, truth, CLASSES).map <= 1


def test_one_class(config, name):
    detector = build_detector(config, CLASSES[:1], seed=0)
    scenes = Scenes(2, side=SIDE[name], classes=1)
    settings = TrainingConfig(steps=1, batch_size=2)
    steps = list(supervised_training(detector, scenes, scenes.boxes, scenes.ids, settings, 0))
    assert np.isfinite([step.loss for step in steps]).all()
    assert len(steps) == 1
    seen = inspect(detector, scenes, scenes.ids)
    assert seen.class_scores.shape == (2, 50, 1)
    assert all((image.labels == 0).all() for image in seen.detections)


def test_grey_transparent_and_turned_files(learned, tmp_path):
    """The same scene as plain, transparent and turned file gives the same boxes; its grey twin is read, too."""
    detector, scenes, _ = learned
    height, width = scenes.canvas
    plain = Image.fromarray(scenes.images["scene-0"].transpose(1, 2, 0)).crop((0, 0, width, height - 32))
    turned = Image.Exif()
    turned[0x0112] = 6
    plain.save(tmp_path / "plain.png")
    plain.convert("L").save(tmp_path / "grey.png")
    plain.convert("RGBA").save(tmp_path / "clear.png")
    plain.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turned)
    ids = ("plain", "grey", "clear", "turned")
    images = {image_id: ImageInfo(image_id, f"{image_id}.png", width, height - 32) for image_id in ids}
    dataset = Dataset(tmp_path, CLASSES, (1, 2, 3), images, {}, {})
    detections = detect(detector, ImageStore.open(dataset, width, tmp_path / "store"), ids)
    assert len(detections["plain"].scores)
    for image_id in ("clear", "turned"):
        np.testing.assert_allclose(detections[image_id].xyxy, detections["plain"].xyxy, atol=1e-3)
        np.testing.assert_allclose(detections[image_id].scores, detections["plain"].scores, atol=1e-5)
    assert np.isfinite(detections["grey"].xyxy).all()
