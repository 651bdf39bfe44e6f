import sys

import pytest
import torch
import torchvision

from mgral.detection import operators
from mgral.detection.operators import (
    AVERAGE,
    MAX,
    TorchvisionOperators,
    UnboundOperatorError,
    bind,
    nms,
    roi_align_backward,
    roi_align_forward,
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def random_boxes(count, side=40.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * side / 2], dim=1)


def rois_of(boxes, images=2):
    return torch.cat([torch.arange(len(boxes))[:, None] % images, boxes], dim=1)


def test_nms_equals_torchvision():
    boxes, scores = random_boxes(200), torch.rand(200, generator=torch.Generator().manual_seed(1))
    assert torch.equal(nms(boxes, scores, 0.4), torchvision.ops.nms(boxes, scores, 0.4))


def test_nms_with_offset_counts_pixels():
    # Two pixels wide each, one in common: IoU 1/3 with the offset, 0 without.
    boxes, scores = torch.tensor([[0.0, 0, 1, 0], [1, 0, 2, 0]]), torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.3, offset=1).tolist() == [0]
    assert nms(boxes, scores, 0.4, offset=1).tolist() == [0, 1]
    assert nms(boxes, scores, 0.3, offset=0).tolist() == [0, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_nms_of_few_boxes(count):
    assert nms(random_boxes(count), torch.ones(count), 0.5).tolist() == list(range(count))


def test_nms_keeps_the_first_of_ties_and_boxes_of_no_area():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 5, 5], [5, 5, 5, 5]])
    assert nms(boxes, torch.full((4,), 0.5), 0.5).tolist() == [0, 2, 3]


def pooled(maps, rois, mode, ratio, aligned, scale=0.5):
    output = maps.new_zeros(len(rois), maps.shape[1], 3, 2)
    argmax = (output.clone(), output.clone()) if mode == MAX else (maps.new_zeros(0), maps.new_zeros(0))
    roi_align_forward(maps, rois, output, *argmax, aligned_height=3, aligned_width=2, spatial_scale=scale,
                      sampling_ratio=ratio, pool_mode=mode, aligned=aligned)
    return output, argmax


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_average_roi_align_equals_torchvision_with_gradient(count, ratio, aligned):
    maps = torch.randn(2, 3, 12, 14, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rois = rois_of(random_boxes(count, side=20))
    expected = torchvision.ops.roi_align(maps, rois, (3, 2), 0.5, ratio, aligned)
    output, argmax = pooled(maps.detach(), rois, AVERAGE, ratio, aligned)
    assert torch.equal(output, expected.detach())
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    gradient = torch.zeros_like(maps)
    roi_align_backward(upstream, rois, *argmax, gradient, aligned_height=3, aligned_width=2, spatial_scale=0.5,
                       sampling_ratio=ratio, pool_mode=AVERAGE, aligned=aligned)
    expected.backward(upstream)
    torch.testing.assert_close(gradient, maps.grad)


def bilinear(plane, y, x):
    """Slow twin of RoIAlign's sampling: zero beyond one pixel outside, else clamped to the map."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.sum() * 0
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    y, x = min(y, height - 1.0), min(x, width - 1.0)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    return ((1 - down) * ((1 - across) * plane[top, left] + across * plane[top, right])
            + down * ((1 - across) * plane[bottom, left] + across * plane[bottom, right]))


def slow_max(maps, rois, ratio, aligned, scale=0.5):
    rows = []
    for image, *box in rois.tolist():
        left, top, right, bottom = (side * scale - 0.5 * aligned for side in box)
        width, height = right - left, bottom - top
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        bins = height / 3, width / 2
        grid = [ratio or max(1, int(-(-size // 1))) for size in bins]
        for plane in maps[int(image)]:
            for row in range(3):
                for column in range(2):
                    samples = [bilinear(plane, top + bins[0] * (row + (i + 0.5) / grid[0]),
                                        left + bins[1] * (column + (j + 0.5) / grid[1]))
                               for i in range(grid[0]) for j in range(grid[1])]
                    rows.append(torch.stack(samples).max())
    return torch.stack(rows).reshape(len(rois), maps.shape[1], 3, 2)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
def test_max_roi_align_equals_a_slow_twin_with_gradient(ratio, aligned):
    maps = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    rois = rois_of(torch.cat([random_boxes(4, side=14), torch.tensor([[-3.0, -2, 5, 6], [10, 12, 30, 30]])]))
    output, argmax = pooled(maps.detach(), rois, MAX, ratio, aligned)
    expected = slow_max(maps, rois, ratio, aligned)
    torch.testing.assert_close(output, expected.detach())
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    gradient = torch.zeros_like(maps)
    roi_align_backward(upstream, rois, *argmax, gradient, aligned_height=3, aligned_width=2, spatial_scale=0.5,
                       sampling_ratio=ratio, pool_mode=MAX, aligned=aligned)
    expected.backward(upstream)
    torch.testing.assert_close(gradient, maps.grad)


@pytest.mark.parametrize("ratio", [0, 2])
def test_max_roi_align_of_no_boxes(ratio):
    output, _ = pooled(torch.randn(1, 2, 8, 8), torch.zeros(0, 5), MAX, ratio, aligned=True)
    assert output.shape == (0, 2, 3, 2)


def focal(logits, classes, weight=None, gamma=2.0, alpha=0.25):
    output, gradient = torch.zeros_like(logits), torch.zeros_like(logits)
    weight = logits.new_empty(0) if weight is None else weight
    sigmoid_focal_loss_forward(logits, classes, weight, output, gamma=gamma, alpha=alpha)
    sigmoid_focal_loss_backward(logits, classes, weight, gradient, gamma=gamma, alpha=alpha)
    return output, gradient


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_loss_equals_torchvision_with_gradient(gamma):
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)).mul(4).requires_grad_()
    classes = torch.arange(20) % 5
    expected = torchvision.ops.sigmoid_focal_loss(
        logits, torch.nn.functional.one_hot(classes, 5)[:, :4].float(), alpha=0.25, gamma=gamma)
    output, gradient = focal(logits.detach(), classes, gamma=gamma)
    torch.testing.assert_close(output, expected.detach())
    expected.sum().backward()
    torch.testing.assert_close(gradient, logits.grad)


def test_focal_loss_weighs_rows_by_their_class_and_background_by_one():
    logits = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 2])
    plain, weighed = focal(logits, classes)[0], focal(logits, classes, torch.tensor([2.0, 0.5]))[0]
    torch.testing.assert_close(weighed, plain * torch.tensor([[2.0], [0.5], [1.0]]))


def test_focal_loss_of_nothing():
    assert focal(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))[0].shape == (0, 3)


def test_an_unbound_operator_names_itself_when_called():
    with pytest.raises(UnboundOperatorError, match="mmcv operator 'deform_conv_forward'.*sigmoid_focal_loss_forward"):
        TorchvisionOperators("mmcv._ext").deform_conv_forward(1, offset=2)


def test_module_attributes_are_not_operators():
    with pytest.raises(AttributeError, match="__wrapped__"):
        getattr(TorchvisionOperators("mmcv._ext"), "__wrapped__")  # noqa: B009  (looked up, not used)


def test_mmcv_runs_on_the_binding():
    bind()
    import mmcv.ops

    boxes, scores = random_boxes(50), torch.rand(50, generator=torch.Generator().manual_seed(1))
    detections, rows = mmcv.ops.nms(boxes, scores, 0.5)
    assert torch.equal(rows, torchvision.ops.nms(boxes, scores, 0.5))
    assert torch.equal(detections, torch.cat([boxes, scores[:, None]], dim=1)[rows])


def test_mmengine_can_look_for_the_binding():
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    bind()
    assert mmcv_full_available()


@pytest.fixture
def unbound(monkeypatch):
    bind()
    monkeypatch.delitem(sys.modules, "mmcv._ext")


@pytest.mark.parametrize("fault", [ImportError("undefined symbol"), OSError("wrong ELF class")])
def test_a_broken_extension_is_replaced(unbound, monkeypatch, fault):
    def broken(name):
        raise fault

    monkeypatch.setattr(operators.importlib, "import_module", broken)
    assert isinstance(bind(), TorchvisionOperators)


def test_a_real_extension_is_used(unbound, monkeypatch):
    real = type(sys)("mmcv._ext")
    monkeypatch.setattr(operators.importlib, "import_module", lambda name: sys.modules.setdefault(name, real))
    assert bind() is real
