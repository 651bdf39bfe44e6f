import pytest
import torch

from mgral.data.augment import FLIP, GREY, STRONG, TRAIN, WEAK, Strength, between, move_boxes, view, warp
from mgral.detection.randomness import stream

SIDE = (64, 96)
CONTENTS = torch.tensor([[64, 96], [40, 96], [64, 50]])


def scene():
    """A bright box at (20, 10, 60, 30) in canvas pixels, in three images with content of different sizes."""
    pixels = torch.full((3, 3, *SIDE), 40, dtype=torch.uint8)
    pixels[:, :, 10:30, 20:60] = 240
    for image, (height, width) in zip(pixels, CONTENTS.tolist(), strict=True):
        image[:, height:] = image[:, :, width:] = int(GREY)
    return pixels, torch.tensor([[20.0, 10, min(60, width), 30] for width in CONTENTS[:, 1].tolist()])


def bright(image):
    rows, columns = (image.mean(dim=0) > 180).nonzero().unbind(1)
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=torch.float32)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_pixels(seed):
    pixels, boxes = scene()
    seen = view(pixels, CONTENTS, WEAK, stream(seed))
    expected = move_boxes(boxes, seen.matrices).clamp(min=0)
    expected = torch.minimum(expected, torch.tensor([96.0, 64, 96, 64]))
    found = torch.stack([bright(image) for image in seen.pixels])
    assert (found - expected).abs().max() <= 1.5


def test_a_flip_mirrors_the_content_and_leaves_the_padding_where_it_is():
    pixels, _ = scene()
    seen = view(pixels, CONTENTS, Strength(flip=1.0, scale=(1.0, 1.0), shift=0.0), stream(0))
    expected = pixels.float()
    for image, (height, width) in zip(expected, CONTENTS.tolist(), strict=True):
        image[:, :height, :width] = image[:, :height, :width].flip(2).clone()
    torch.testing.assert_close(seen.pixels, expected, atol=1e-2, rtol=0)


def test_flips_are_drawn_for_each_image():
    pixels, _ = scene()
    factors = torch.cat([view(pixels, CONTENTS, FLIP, stream(seed)).matrices[:, 0, 0] for seed in range(4)])
    assert set(factors.tolist()) == {1.0, -1.0}


def test_views_stay_within_their_strength():
    contents = torch.tensor([[64, 96]]).repeat(500, 1)
    pixels = torch.zeros(500, 3, 32, 32)
    matrices = view(pixels, contents, Strength(scale=(0.8, 1.2), shift=0.1), stream(0)).matrices
    factor = matrices[:, 0, 0].abs()
    assert 0.8 <= factor.min() < 0.82
    assert 1.18 < factor.max() <= 1.2
    centre = move_boxes(torch.tensor([[48.0, 32, 48, 32]]).repeat(500, 1), matrices)[:, :2]
    shift = (centre - torch.tensor([48.0, 32])).abs().amax(dim=0) / torch.tensor([96.0, 64])
    assert (shift > 0.095).all()
    assert (shift < 0.1001).all()


def test_between_takes_boxes_from_one_view_to_another():
    pixels, boxes = scene()
    generator = stream(3)
    weak, strong = view(pixels, CONTENTS, WEAK, generator), view(pixels, CONTENTS, STRONG, generator)
    moved = move_boxes(move_boxes(boxes, weak.matrices), between(weak, strong))
    torch.testing.assert_close(moved, move_boxes(boxes, strong.matrices))


def test_warping_back_restores_the_middle_of_the_image():
    generator = stream(1)
    smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4, generator=generator) * 255, SIDE, mode="bilinear")
    matrices = view(smooth, CONTENTS[:2], Strength(flip=1.0, shift=0.05), generator).matrices
    back = warp(warp(smooth, matrices), torch.linalg.inv(matrices))
    assert (back - smooth)[:, :, 20:44, 24:72].abs().max() < 12


@pytest.mark.parametrize("strength", [FLIP, WEAK, TRAIN, STRONG])
def test_same_generator_same_view_in_range(strength):
    pixels, _ = scene()
    first, second = (view(pixels, CONTENTS, strength, stream(9)) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.matrices, second.matrices)
    assert first.pixels.dtype == torch.float32
    assert first.pixels.min() >= 0
    assert first.pixels.max() <= 255


def test_colour_is_drawn_for_each_image():
    pixels = torch.full((40, 3, 8, 8), 100.0)
    still = Strength(flip=0.0, scale=(1.0, 1.0), shift=0.0, brightness=0.4)
    means = view(pixels, torch.tensor([[8, 8]]).repeat(40, 1), still, stream(0)).pixels.mean(dim=(1, 2, 3))
    assert len(means.unique()) == 40
    assert 60 <= means.min() < 66
    assert 134 < means.max() <= 140


def test_grey_takes_the_colour_and_keeps_the_brightness():
    pixels = torch.tensor([200.0, 100, 50])[None, :, None, None].expand(1, 3, 4, 4)
    still = Strength(flip=0.0, scale=(1.0, 1.0), shift=0.0, grey=1.0)
    seen = view(pixels, torch.tensor([[4, 4]]), still, stream(0)).pixels
    torch.testing.assert_close(seen, torch.full((1, 3, 4, 4), 0.299 * 200 + 0.587 * 100 + 0.114 * 50))


def test_blur_keeps_even_areas_and_softens_edges():
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[..., 8:] = 200
    still = Strength(flip=0.0, scale=(1.0, 1.0), shift=0.0, blur=1.0)
    seen = view(pixels, torch.tensor([[16, 16]]), still, stream(0)).pixels
    torch.testing.assert_close(seen[..., :5], pixels[..., :5], atol=1e-3, rtol=0)
    assert 0 < seen[0, 0, 4, 7] < 100 < seen[0, 0, 4, 8] < 200


def test_one_to_three_rectangles_are_erased():
    pixels = torch.full((60, 3, 40, 40), 77.0)
    still = Strength(flip=0.0, scale=(1.0, 1.0), shift=0.0, erasures=3)
    seen = view(pixels, torch.tensor([[40, 40]]).repeat(60, 1), still, stream(0)).pixels
    colours = torch.tensor([len({tuple(colour) for colour in image.flatten(1).T.tolist()}) for image in seen])
    assert colours.min() >= 2
    assert colours.max() == 4
    share = (seen[:, 0] != 77).float().mean(dim=(1, 2))
    assert share.max() <= 3 * 0.27 ** 2
