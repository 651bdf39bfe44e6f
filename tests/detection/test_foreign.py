"""Checkpoints of people's own mmdet models: as trained, or refused in one line."""

import pickle
import re
from pathlib import Path

import pytest
import torch

from mgral.config import DetectorConfig
from mgral.detection import detect, image_size_of, load_foreign, save_checkpoint
from mgral.detection.building import build_detector, load_mmdet
from mgral.errors import ConfigError, MgralError
from tests.detection.checkpoints import write_mmengine
from tests.detection.conftest import DENSE, TWO_STAGE
from tests.detection.scenes import CLASSES, Scenes

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")  # mmdet's point generator
PIPELINE = """
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True),
                 dict(type='PackDetInputs')]
"""
RETINA = """
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[9., 8., 7.], std=[57.4, 57.1, 58.4], bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18, base_channels=16, stem_channels=16, norm_eval=True, frozen_stages=1,
                  norm_cfg=dict(type='BN', requires_grad=True),
                  init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(type='FPN', in_channels=[16, 32, 64, 128], out_channels=16, num_outs=5),
    bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=16, feat_channels=16, stacked_convs=1,
                   anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
                                         strides=[4, 8, 16, 32, 64]),
                   loss_cls=dict(type='FocalLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
                   sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20))
"""


class Trained:
    """A checkpoint in a folder, with the config file beside it and the detector that it is of."""

    def __init__(self, folder: Path, text: str, **meta) -> None:
        load_mmdet()
        from mmengine.config import Config

        self.config, self.path = folder / "model.py", folder / "epoch_12.pth"
        self.config.write_text(text.replace("num_classes=80", "num_classes=3") + PIPELINE)
        self.detector = build_detector(DetectorConfig(config=str(self.config), weights=None, image_size=96)
                                       if "Pretrained" not in text else self._without_download(), CLASSES, 0).eval()
        self.meta = {"dataset_meta": {"classes": CLASSES, "palette": [(1, 2, 3)]},
                     "cfg": Config.fromfile(self.config).pretty_text, **meta}
        self.weights = self.detector.model.state_dict()
        self.write()

    def _without_download(self) -> DetectorConfig:
        plain = self.config.with_name("plain.py")
        plain.write_text(re.sub(r",\s*init_cfg=dict\(.*?\)\)", ")", self.config.read_text()))
        return DetectorConfig(config=str(plain), image_size=96)

    def write(self, weights: dict | None = None, **meta) -> Path:
        write_mmengine(self.path, self.weights if weights is None else weights, **self.meta | meta)
        return self.path


@pytest.fixture
def trained(tmp_path) -> Trained:
    return Trained(tmp_path, RETINA)


def fault(path: Path, *more, **named) -> str:
    with pytest.raises(MgralError) as caught:
        load_foreign(path, *more, **named)
    (line,) = caught.value.problems
    assert line.isprintable()
    assert len(line) < 500
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("text", [RETINA, TWO_STAGE, DENSE], ids=["retina", "two-stage", "dense"])
@pytest.mark.parametrize("by_file", [True, False])
def test_a_checkpoint_predicts_as_it_was_trained(tmp_path, text, by_file):
    trained = Trained(tmp_path, text)
    loaded = load_foreign(trained.path, trained.config if by_file else None)
    assert (loaded.classes, loaded.config.image_size, loaded.training) == (CLASSES, 96, False)
    scenes = Scenes(2)
    before, after = (detect(model, scenes, scenes.ids) for model in (trained.detector, loaded))
    for image_id in scenes.ids:
        assert len(before[image_id].scores)
        assert (before[image_id].xyxy == after[image_id].xyxy).all()
        assert (before[image_id].scores == after[image_id].scores).all()


def test_nothing_is_downloaded_and_nothing_is_executed(trained, monkeypatch):
    monkeypatch.setattr("mmengine.runner.checkpoint.load_checkpoint", lambda *_, **__: pytest.fail("a download"))
    monkeypatch.setattr("mmengine.config.Config.fromfile", lambda *_, **__: pytest.fail("a config was executed"))
    assert load_foreign(trained.path).classes == CLASSES


@pytest.mark.parametrize(("meta", "given", "classes"), [
    ({"dataset_meta": {"CLASSES": ["x", "y", "z"]}}, None, ("x", "y", "z")),
    ({"dataset_meta": None, "CLASSES": ("x", "y", "z")}, None, ("x", "y", "z")),
    ({"dataset_meta": {}, "CLASSES": None}, ["p", "q", "r"], ("p", "q", "r")),
    ({}, ["p", "q", "r"], ("p", "q", "r"))])
def test_classes_are_those_of_the_checkpoint_or_given(trained, meta, given, classes):
    assert load_foreign(trained.write(**meta), classes=given).classes == classes


@pytest.mark.parametrize(("meta", "given", "line"), [
    ({"dataset_meta": None}, None, "expected a checkpoint that names its classes, as mmengine's do, got none; name "
                                   "them in order (--classes a,b,c)"),
    ({"dataset_meta": {"classes": [1, 2]}}, None, "expected a checkpoint that names its classes"),
    ({"dataset_meta": "x"}, (), "expected a checkpoint that names its classes"),
    ({}, ["a"], "expected the names of its 3 classes (red, green, blue…), got 1; correct them, or leave them out"),
    ({"dataset_meta": None}, ["a", "b", "a"], "expected each class once, got a, b, a"),
    ({"dataset_meta": {"classes": "cat"}}, None, "expected every weight of RetinaNet for 1 class to fit, got 2 of "
     "another shape (bbox_head.retina_cls.weight, bbox_head.retina_cls.bias); give the config file and the classes"),
    ({"dataset_meta": None}, list("abcd"), "expected every weight of RetinaNet for 4 classes to fit, got 2")])
def test_classes_that_do_not_fit_are_refused(trained, meta, given, line):
    assert fault(trained.write(**meta), classes=given).startswith(line)


def test_a_config_of_another_number_of_classes_is_made_to_fit(trained):
    trained.config.write_text(trained.config.read_text().replace("num_classes=3", "num_classes=80"))
    assert load_foreign(trained.path, trained.config).classes == CLASSES


def test_a_count_that_stands_for_something_else_is_not_taken_for_the_classes(trained):
    trained.config.write_text(trained.config.read_text().replace("num_classes=3", "num_classes=5").replace(
        "allowed_border", "num_classes=3, allowed_border"))
    assert fault(trained.path, trained.config).startswith(
        f"{trained.config}: expected the names of 5 classes, got 3 (red, green, blue); correct num_classes")


def test_weights_that_do_not_fit_are_counted(trained):
    renamed = {name.replace("bbox_head", "head"): value for name, value in trained.weights.items()}
    head = sum(name.startswith("bbox_head") for name in trained.weights)
    line = fault(trained.write(renamed))
    assert line.startswith(f"expected every weight of RetinaNet to fit, got {head} missing (bbox_head.")
    assert f", …), {head} that the model lacks (head." in line
    assert line.endswith(", …); give the config file and the classes that it was trained with")


@pytest.mark.parametrize(("name", "change", "found"), [
    ("neck.fpn_convs.0.conv.weight", None, "1 missing (neck.fpn_convs.0.conv.weight)"),
    ("neck.extra.weight", torch.ones(1), "1 that the model lacks (neck.extra.weight)"),
    ("backbone.conv1.weight", torch.ones(1), "1 of another shape (backbone.conv1.weight)"),
    ("backbone.bn1.running_mean", None, "1 missing (backbone.bn1.running_mean)")])
def test_one_weight_that_does_not_fit_is_a_fault(trained, name, change, found):
    weights = {**trained.weights, name: change}
    assert f"to fit, got {found}; give" in fault(trained.write({k: v for k, v in weights.items() if v is not None}))


def test_a_checkpoint_without_a_backbone_or_of_another_model_is_refused(trained):
    assert "1 missing" not in fault(trained.write({"layer.weight": torch.ones(2)}))
    assert fault(trained.write({"w": torch.tensor(float("nan"))})).startswith("expected finite weights")


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
def test_wrappers_and_what_is_no_weight_are_allowed(trained, prefix):
    extra = {"data_preprocessor.mean": torch.ones(3, 1, 1)}
    weights = {f"{prefix}{name}": value for name, value in (trained.weights | extra).items()
               if not name.endswith("num_batches_tracked")}
    loaded = load_foreign(trained.write(weights))
    assert torch.equal(loaded.model.state_dict()["backbone.conv1.weight"], trained.weights["backbone.conv1.weight"])


@pytest.mark.parametrize(("text", "got"), [
    ("model = __import__('os').system('touch ran')", "got \"__import__('os').system('touch ran')\" in its line 1"),
    ("model = dict(type=open('ran', 'w'))", "got \"open('ran', 'w')\" in its line 1"),
    ("x = 1\nmodel = dict(a=x)", "got 'x' in its line 2"), ("model = [i for i in 'ab']", "got \"[i for i in 'ab']\""),
    ("model = dict(**dict(a=1))", "got 'dict(**dict(a=1))'"), ("model = dict([('a', 1)])", "got \"dict([('a', 1)])\""),
    ("model = {**{}}", "got '{**{}}'"), ("model = f'{open}'", "got \"f'{open}'\""), ("model = 'a' * 10**9", "got "),
    ("model = dict.fromkeys('a')", "got \"dict.fromkeys('a')\""), ("model = lambda: 1", "got 'lambda: 1'"),
    ("model = (x := 1)", "got '(x := 1)'"), ("model = dict(a=-'x')", "got \"-'x'\"")])
def test_a_config_in_a_checkpoint_is_not_run(trained, tmp_path, monkeypatch, text, got):
    monkeypatch.chdir(tmp_path)
    line = fault(trained.write(cfg=text))
    assert line.startswith(f"expected literals and dict(...) only in the config of the checkpoint, {got}")
    assert line.endswith("it is not run, give its config file (--config FILE)")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("text", "line"), [
    (None, "expected a checkpoint that holds its config, as mmengine's do, got none; give its config file"),
    ("model = (", "expected a config that can be read in the checkpoint, got SyntaxError; give its config file"),
    ("model = " + "[" * 5000, "expected a config that can be read in the checkpoint, got "),
    ("model = " + "-" * 90000 + "1", "expected a config that can be read in the checkpoint, got "),
    ("a\0b", "expected a config that can be read in the checkpoint, got "),
    ("", "expected a `model` section, got nothing of the kind"), ("model = 3", "expected a `model` section, got "),
    ("model = dict(type='FCOS')", "expected a model that mmdet can build, got TypeError"),
    ("model = dict(a=1)", "expected a model that mmdet can build, got KeyError"),
    ("model = dict(type='ResNet', depth=18)", "expected every weight of ResNet to fit, got ")])
def test_a_config_in_a_checkpoint_that_is_none_is_one_line(trained, text, line):
    assert fault(trained.write(cfg=text)).startswith(line)


@pytest.mark.parametrize("place", ["model = dict(type={}, args=['true'])",
                                   "model = dict(type='RetinaNet', backbone=dict(type={}))",
                                   "model = dict(type='RetinaNet', test_cfg=dict(nms=[dict(type={})]))"])
def test_types_that_are_not_mmdets_own_are_refused(trained, monkeypatch, place):
    monkeypatch.setattr("mmengine.registry.registry.get_object_from_string", lambda name: pytest.fail(name))
    kinds = ["os.system", "subprocess.call", "mmdet.utils.misc.os.system", "builtins.exec", "RealMischief",
             "mmpretrain.ResNet", "CameraMotionCompensation", "KnowledgeDistillationSingleStageDetector", "LAD",
             "BertModel", "GLIP", "torch.load", "mmengine.config.Config.fromfile", "Runner", "__import__('os').system",
             "", 5]
    for kind in kinds:
        assert fault(trained.write(cfg=place.format(repr(kind)))) == (
            f"expected models of mmdet in the config of the checkpoint, got the type {str(kind)!r}; give its config "
            "file (--config FILE)")


def test_another_package_is_not_imported(trained):
    text = trained.meta["cfg"].replace("type='RetinaNet'", "type='RetinaNet', _scope_='antigravity'")
    assert "got another package's" in fault(trained.write(cfg=text))


def test_types_are_known_by_their_full_names_too(trained):
    text = trained.meta["cfg"].replace("'RetinaNet'", "'mmdet.models.detectors.retinanet.RetinaNet'").replace(
        "'FPN'", "'mmdet.FPN', _scope_='mmdet'").replace("'BN'", "'torch.nn.modules.batchnorm.BN'")
    assert load_foreign(trained.write(cfg=text)).classes == CLASSES


def test_a_detector_of_a_kind_that_cannot_be_used_is_found(trained, monkeypatch):
    load_mmdet()
    from mmdet.models.dense_heads import RetinaHead
    from mmdet.registry import MODELS

    class OddHead(RetinaHead):
        __module__ = "mmdet.models.dense_heads.odd"

        def forward(self, features):
            return features.shape

    monkeypatch.setitem(MODELS.module_dict, "OddHead", OddHead)
    assert fault(trained.write(cfg=trained.meta["cfg"].replace("'RetinaHead'", "'OddHead'"))).startswith(
        "expected a detector that mgral can look at images with, got AttributeError: ")


def test_a_config_of_mmdet_2_is_read(trained):
    """Its pixels are normalised in the pipeline, its text stands under another name."""
    text = re.sub(r"data_preprocessor=dict\(.*?\),\n", "", RETINA, flags=re.DOTALL).replace(
        "backbone=", "pretrained='torchvision://resnet18', backbone=").replace("    init_cfg", "    pretrained")
    text += """
img_norm_cfg = dict(mean=[9., 8., 7.], std=[57.4, 57.1, 58.4], to_rgb=True)
data = dict(test=dict(pipeline=[dict(type='MultiScaleFlipAug', img_scale=(96, 64), transforms=[
    dict(type='Resize', keep_ratio=True),
    dict(type='Normalize', mean=[9.0, 8.0, 7.0], std=[57.4, 57.1, 58.4], to_rgb=True)])]))
"""
    loaded = load_foreign(trained.write(cfg=None, config=text, dataset_meta=None, CLASSES=CLASSES))
    assert loaded.config.image_size == 96
    assert torch.equal(loaded.channels.mean, trained.detector.channels.mean)
    assert loaded.channels.reversed == trained.detector.channels.reversed


@pytest.mark.parametrize(("config", "size"), [
    ({}, 640), ({"test_pipeline": [{"type": "Resize", "scale": (1333, 800)}]}, 1333),
    ({"test_pipeline": [{"type": "Resize", "scale": 512}]}, 512),
    ({"test_pipeline": [{"type": "mmdet.FixScaleResize", "scale": [[400, 300]]}]}, 400),
    ({"test_dataloader": {"dataset": {"dataset": {"pipeline": [{"type": "Resize", "scale": (64, 600)}]}}}}, 600),
    ({"data": {"test": {"pipeline": [{"type": "MultiScaleFlipAug", "img_scale": (1000, 600)}]}}}, 1000),
    ({"test_pipeline": [{"type": "Pad", "scale": (999, 999)}, {"type": "Resize", "scale_factor": 2.0}]}, 640),
    ({"test_pipeline": [{"type": "Resize", "scale": (8, 4)}]}, 32), ({"test_pipeline": "x", "data": 3}, 640),
    ({"test_pipeline": [{"type": "Resize", "scale": (10**6, 1)}]}, 8192),
    ({"test_pipeline": [{"type": "Resize", "scale": "640"}, {"type": 3}, {"type": None}]}, 640)], ids=str)
def test_the_size_of_images_is_that_of_the_test_pipeline(config, size):
    assert image_size_of(config) == size


def test_our_own_checkpoints_are_read(detector, tmp_path):
    path = tmp_path / "detector.pth"
    save_checkpoint(path, detector)
    loaded = load_foreign(path)
    assert (loaded.classes, loaded.config) == (detector.classes, detector.config)
    assert torch.equal(loaded.model.state_dict()["backbone.conv1.weight"],
                       detector.model.state_dict()["backbone.conv1.weight"])
    assert fault(path, classes=["a"]) == "expected its own classes (red, green, blue), got a; leave them out"


def test_a_config_file_that_our_own_checkpoint_names_is_executed_only_when_given(trained, tmp_path):
    path = tmp_path / "detector.pth"
    save_checkpoint(path, build_detector(DetectorConfig(config=str(tmp_path / "plain.py"), image_size=96), CLASSES, 0))
    (tmp_path / "plain.py").rename(tmp_path / "moved.py")
    assert fault(path).endswith("plain.py, to be named, as it is Python and is executed; give its config file "
                                "(--config FILE)")
    assert load_foreign(path, tmp_path / "moved.py").classes == CLASSES


@pytest.mark.parametrize(("change", "line"), [
    ({"classes": "abc"}, "expected a detector's checkpoint with the names of its classes, got others"),
    ({"classes": [1]}, "expected a detector's checkpoint with the names of its classes, got others"),
    ({"detector": 3}, "expected a detector's settings, got 1 that are none"),
    ({"state": {"w": 1}}, "expected the weights of tiny, got others: "),
    ({"state": [1]}, "expected the weights of tiny, got others: ")])
def test_our_own_checkpoints_with_other_content_are_refused(detector, tmp_path, change, line):
    path = tmp_path / "detector.pth"
    save_checkpoint(path, detector)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(MgralError, match=f"detector.pth: {line}"):
        load_foreign(path)


def test_files_that_are_none_are_one_line(tmp_path):
    assert "got No such file" in fault(tmp_path / "gone.pth")
    (tmp_path / "p.pth").write_bytes(pickle.dumps({"state_dict": print}))
    assert fault(tmp_path / "p.pth").startswith("expected a file of tensors, got ")
    torch.save({"state_dict": {"w": torch.ones(1)}}, tmp_path / "bare.pth")
    assert fault(tmp_path / "bare.pth").startswith("expected a checkpoint that holds its config")
    with pytest.raises(ConfigError, match=r"gone\.py: expected an mmdet config file, got No such file"):
        load_foreign(tmp_path / "bare.pth", tmp_path / "gone.py")
