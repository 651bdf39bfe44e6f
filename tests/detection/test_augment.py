from dataclasses import replace

import pytest
import torch

from mgral.data.augment import (
    GREY,
    STRONG,
    STRONGEST,
    TRAIN,
    WEAK,
    Strength,
    between,
    move_boxes,
    twins,
    view,
    warp,
)
from mgral.randomness import stream

SIDE = (64, 96)
CONTENTS = torch.tensor([[64, 96], [40, 96], [64, 50]])

MIRRORED = Strength(scale=(1.0, 1.0), shift=0.0)


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


STILL = Strength(flip=0.0, scale=(1.0, 1.0), shift=0.0)


@pytest.mark.parametrize("strength", [
    MIRRORED, WEAK, replace(STILL, turn=30.0), replace(STILL, shear=30.0), Strength(turn=30.0, shear=30.0)],
    ids=["flip", "weak", "turn", "shear", "all"])
@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_pixels(seed, strength):
    pixels, boxes = scene()
    seen = view(pixels, CONTENTS, strength, stream(seed))
    expected = move_boxes(boxes, seen.matrices).clamp(min=0)
    expected = torch.minimum(expected, torch.tensor([96.0, 64, 96, 64]))
    bounds = torch.stack([bright(image) for image in seen.pixels])
    bent = strength.turn or strength.shear  # a corner's tip is grey
    assert (bounds - expected).abs().max() <= (3.5 if bent else 1.5)


def test_a_flip_mirrors_the_content_and_leaves_the_padding_where_it_is():
    pixels, _ = scene()
    seen = view(pixels, CONTENTS, Strength(flip=1.0, scale=(1.0, 1.0), shift=0.0), stream(0))
    expected = pixels.float()
    for image, (height, width) in zip(expected, CONTENTS.tolist(), strict=True):
        image[:, :height, :width] = image[:, :height, :width].flip(2).clone()
    torch.testing.assert_close(seen.pixels, expected, atol=1e-2, rtol=0)


def test_flips_are_drawn_for_each_image():
    pixels, _ = scene()
    factors = torch.cat([view(pixels, CONTENTS, MIRRORED, stream(seed)).matrices[:, 0, 0] for seed in range(4)])
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


def test_a_moved_box_is_the_hull_of_its_corners():
    generator = stream(2)
    matrices = view(torch.zeros(200, 3, 8, 8), torch.tensor([[64, 96]]).repeat(200, 1), STRONGEST, generator).matrices
    corner = torch.rand(200, 2, generator=generator) * 50
    xyxy = torch.cat([corner, corner + 20], dim=1)
    for box, matrix, moved in zip(xyxy.tolist(), matrices, move_boxes(xyxy, matrices), strict=True):
        points = torch.tensor([[x, y, 1.0] for x in box[::2] for y in box[1::2]]) @ matrix.T
        torch.testing.assert_close(moved, torch.cat([points.amin(dim=0)[:2], points.amax(dim=0)[:2]]))


def test_upright_boxes_move_by_scale_and_shift_to_the_last_bit():
    matrices = view(torch.zeros(50, 3, 8, 8), torch.tensor([[64, 96]]).repeat(50, 1), STRONG, stream(0)).matrices
    xyxy = torch.rand(50, 4, generator=stream(1)) * 90
    scale, shift = matrices[:, (0, 1), (0, 1)], matrices[:, :2, 2]
    ends = torch.stack([xyxy[:, :2] * scale + shift, xyxy[:, 2:] * scale + shift])
    assert torch.equal(move_boxes(xyxy, matrices), torch.cat([ends.amin(dim=0), ends.amax(dim=0)], dim=1))


def test_bending_leaves_the_centre_in_place_and_stays_within_its_angle():
    matrices = view(torch.zeros(800, 3, 4, 4), torch.tensor([[64, 96]]).repeat(800, 1),
                    replace(STILL, turn=20.0, shear=30.0), stream(0)).matrices
    centre = matrices @ torch.tensor([48.0, 32, 1])
    torch.testing.assert_close(centre, torch.tensor([48.0, 32, 1]).expand(800, 3))
    along, across, shrunk = matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 0, 0] < 1
    kinds = [shrunk, (along != 0) & ~shrunk, (across != 0) & ~shrunk, (along == 0) & (across == 0)]
    assert all(150 < kind.sum() < 250 for kind in kinds)
    assert sum(kinds).eq(1).all()
    assert 19 < torch.rad2deg(torch.acos(matrices[shrunk, 0, 0])).max() <= 20.01
    for lean in (along[kinds[1]], across[kinds[2]]):
        assert 29 < torch.rad2deg(torch.atan(lean.abs())).max() <= 30.01


def test_twins_share_the_geometry_and_differ_in_colour_only():
    pixels, _ = scene()
    plain, strong = twins(pixels, CONTENTS, STRONG, stream(4))
    assert torch.equal(plain.matrices, strong.matrices)
    assert torch.equal(strong.pixels, view(pixels, CONTENTS, STRONG, stream(4)).pixels)
    assert torch.equal(plain.pixels, warp(pixels, plain.matrices))
    assert not torch.equal(plain.pixels, strong.pixels)


@pytest.mark.parametrize("strength", [MIRRORED, WEAK, TRAIN, STRONG, STRONGEST])
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
