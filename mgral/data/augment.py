"""Random views of a batch of images, on any device, with the matrices that take boxes along.

Images are (B, 3, H, W) on a common canvas, 0 to 255, content at the top left and grey (114) elsewhere. Every draw is
made per image from the generator that the caller passes. Boxes are xyxy in canvas pixels, where pixel k spans k to k+1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 114.0
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """`pixels` (B, 3, H, W) float32, 0 to 255; `matrices` (B, 3, 3) take canvas pixels to pixels of the view."""

    pixels: Tensor
    matrices: Tensor


@dataclass(frozen=True, slots=True)
class Strength:
    """How far a view may go. Ranges are of factors; probabilities are per image."""

    flip: float = 0.5
    scale: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.1
    """Largest translation, as a share of the content's sides."""
    turn: float = 0.0
    """Largest rotation in degrees. Of rotation, shear along x and shear along y an image gets one, or none of them."""
    shear: float = 0.0
    """Largest shear, in degrees of the side that leans."""
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    erasures: int = 0
    """Most rectangles to paint over; at least one of them when not zero."""
    erasure: tuple[float, float] = (0.05, 0.25)
    """Shares of the canvas's sides that a rectangle takes."""


WEAK = Strength()
TRAIN = Strength(brightness=0.2, contrast=0.2, saturation=0.2)
"""What supervised training sees: the weak view with a little colour jitter."""
STRONG = Strength(brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2, blur=0.3, erasures=3)
"""What the student sees of unlabelled images (Soft Teacher, strong augmentation; without rotation and shear)."""
STRONGEST = replace(STRONG, turn=30.0, shear=30.0, erasures=5, erasure=(0.0, 0.2))
"""The same with rotation, shear and the many small erasures of Soft Teacher and STAC."""


WHOLE = slice(None)


def view(pixels: Tensor, contents: Tensor, strength: Strength, generator: torch.Generator, part: slice = WHOLE) -> View:
    """A random view of each image. `contents` (B, 2): height and width of the content in canvas pixels.

    With `part`, `pixels` holds these images of the batch only, and each is seen as it would be in the whole batch.
    """
    return twins(pixels, contents, strength, generator, part)[1]


def twins(pixels: Tensor, contents: Tensor, strength: Strength, generator: torch.Generator,
          part: slice = WHOLE) -> tuple[View, View]:
    """The view that `view` draws, after the same view without its changes of colour and erasures."""
    matrices = drawn_matrices(contents, strength, generator)[part].to(pixels.device)
    moving = strength.scale != (1.0, 1.0) or strength.shift or strength.flip or strength.turn or strength.shear
    plain = warp(pixels, matrices) if moving else pixels.float()
    random = RandomNumbers(generator, len(contents), part)
    return View(plain, matrices), View(_erased(_coloured(plain, strength, random), strength, random), matrices)


def warp(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Images where `matrices` take them, bilinear, grey where nothing lands."""
    height, width = pixels.shape[-2:]
    unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], device=pixels.device)
    inverse = unit @ torch.linalg.inv(matrices) @ torch.linalg.inv(unit)
    grid = F.affine_grid(inverse[:, :2], list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels.float() - GREY, grid, align_corners=False) + GREY


def move_boxes(xyxy: Tensor, matrices: Tensor) -> Tensor:
    """Boxes (n, 4) under one affine matrix each (n, 3, 3): the smallest upright box around the four moved corners."""
    corners = torch.stack([xyxy[:, (0, 2, 0, 2)], xyxy[:, (1, 1, 3, 3)]], dim=1)  # (n, 2, 4)
    along, across = corners[:, :1] * matrices[:, :2, :1], corners[:, 1:] * matrices[:, :2, 1:2]
    # In this order, shift last, flips and scales give the same numbers as without the other axis.
    moved = along + across + matrices[:, :2, 2:]
    return torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=1)


def between(source: View, goal: View) -> Tensor:
    """Matrices (B, 3, 3) from pixels of one view to pixels of another view of the same images."""
    return goal.matrices @ torch.linalg.inv(source.matrices)


def drawn_matrices(contents: Tensor, strength: Strength, generator: torch.Generator) -> Tensor:
    """The `matrices` of the `View` that `view` draws from a generator in this state."""
    count = len(contents)
    sides = contents.flip(1).float().cpu()  # width, height
    factor = _between(strength.scale, torch.rand(count, 1, generator=generator)).expand(count, 2).clone()
    shift = sides * (2 * torch.rand(count, 2, generator=generator) - 1) * strength.shift
    # The content's centre moves by the shift; where it fits, the smaller picture stays inside the content's own area.
    shift = shift + sides * (1 - factor) / 2
    flipped = torch.rand(count, generator=generator) < strength.flip
    shift[flipped, 0] += sides[flipped, 0] * factor[flipped, 0]
    factor[flipped, 0] *= -1
    matrices = torch.eye(3).repeat(count, 1, 1)
    matrices[:, 0, 0], matrices[:, 1, 1] = factor.unbind(1)
    matrices[:, :2, 2] = shift
    if strength.turn or strength.shear:
        matrices = _bent(matrices, sides, strength, generator)
    return matrices


def _bent(matrices: Tensor, sides: Tensor, strength: Strength, generator: torch.Generator) -> Tensor:
    """Each image turned, sheared along x, sheared along y or none of it, about where its content's centre went."""
    count = len(matrices)
    kind = torch.randint(4, (count,), generator=generator)
    draw = 2 * torch.rand(count, generator=generator) - 1
    angle, lean = torch.deg2rad(strength.turn * draw), torch.deg2rad(strength.shear * draw).tan()
    bend = torch.eye(2).repeat(count, 1, 1)
    turned, across, down = kind == 1, kind == 2, kind == 3
    bend[turned] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).reshape(-1, 2, 2)[turned]
    bend[across, 0, 1] = lean[across]
    bend[down, 1, 0] = lean[down]
    centre = matrices[:, :2, :2] @ (sides / 2)[:, :, None] + matrices[:, :2, 2:]
    about = torch.eye(3).repeat(count, 1, 1)
    about[:, :2, :2], about[:, :2, 2:] = bend, centre - bend @ centre
    return about @ matrices


@dataclass(frozen=True, slots=True)
class RandomNumbers:
    """Draws for every image of a batch, of which those of `part` are used here."""

    generator: torch.Generator
    count: int
    part: slice

    def uniform(self, rows: int, *sides: int) -> Tensor:
        """(rows, images of the part, *sides) in [0, 1)."""
        return torch.rand(rows, self.count, *sides, generator=self.generator)[:, self.part]

    def integers(self, low: int, high: int) -> Tensor:
        """(images of the part,) numbers from low to high - 1."""
        return torch.randint(low, high, (self.count,), generator=self.generator)[self.part]


def _coloured(pixels: Tensor, strength: Strength, random: RandomNumbers) -> Tensor:
    draws = random.uniform(5).to(pixels.device)[:, :, None, None, None]
    if strength.brightness:
        pixels = pixels * _around_one(strength.brightness, draws[0])
    if strength.contrast:
        mean = _luma(pixels).mean(dim=(2, 3), keepdim=True)
        pixels = mean + (pixels - mean) * _around_one(strength.contrast, draws[1])
    if strength.saturation or strength.grey:
        factor = _around_one(strength.saturation, draws[2]).masked_fill(draws[3] < strength.grey, 0.0)
        luma = _luma(pixels)
        pixels = luma + (pixels - luma) * factor
    if strength.blur:
        blurred = (draws[4] < strength.blur).flatten()
        pixels = torch.where(blurred[:, None, None, None], _blur(pixels, random), pixels)
    return pixels.clamp(0.0, 255.0)


def _luma(pixels: Tensor) -> Tensor:
    return (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def _blur(pixels: Tensor, random: RandomNumbers) -> Tensor:
    """Gaussian blur over 5 × 5 pixels, sigma 0.5 to 1.5, another one for each image."""
    count, channels, height, width = pixels.shape
    sigma = (0.5 + random.uniform(1)[0, :, None]).to(pixels.device)
    kernel = torch.exp(-torch.arange(-2, 3, device=pixels.device) ** 2 / (2 * sigma ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    planes = F.pad(pixels.reshape(1, count * channels, height, width), (2, 2, 2, 2), mode="replicate")
    planes = F.conv2d(planes, kernel[:, None, None, :], groups=count * channels)
    return F.conv2d(planes, kernel[:, None, :, None], groups=count * channels).reshape(pixels.shape)


def _erased(pixels: Tensor, strength: Strength, random: RandomNumbers) -> Tensor:
    """Paints up to `strength.erasures` rectangles, every one in a random colour."""
    most = strength.erasures
    if not most:
        return pixels
    height, width = pixels.shape[2:]
    number = random.integers(1, most + 1)
    draws = random.uniform(most, 4)
    colours = (255 * random.uniform(most, 3)).to(pixels.device)
    for step in range(most):
        inside = _rectangle(draws[step], strength.erasure, height, width) & (number > step)[:, None, None]
        pixels = torch.where(inside[:, None].to(pixels.device), colours[step][:, :, None, None], pixels)
    return pixels


def _rectangle(draws: Tensor, shares: tuple[float, float], height: int, width: int) -> Tensor:
    """(B, H, W) true inside one rectangle an image, from four uniform numbers each."""
    sides = _between(shares, draws[:, :2])
    corner = draws[:, 2:] * (1 - sides)
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    down = (rows >= corner[:, :1]) & (rows < corner[:, :1] + sides[:, :1])
    across = (columns >= corner[:, 1:]) & (columns < corner[:, 1:] + sides[:, 1:])
    return down[:, :, None] & across[:, None, :]


def _between(bounds: tuple[float, float], draw: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * draw


def _around_one(reach: float, draw: Tensor) -> Tensor:
    return 1 + reach * (2 * draw - 1)
