"""How the drawn scenes look: things found on a forest floor, the floor itself, litter that is no object, bad shots.

Everything is drawn at `SUPERSAMPLING` times the size of the image and averaged down. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING = 2

Rng = np.random.Generator
Colour = tuple[float, float, float]
Part = tuple[np.ndarray, Sequence[float]]
"""A polygon, (n, 2) in units of half the object's length, and its colour."""

GREEN, OLIVE, YELLOW, ORANGE = (70, 130, 50), (120, 125, 50), (225, 195, 60), (215, 125, 45)
RED, BROWN, DARK, WHITE = (190, 45, 45), (120, 80, 50), (45, 40, 45), (230, 225, 215)
BLUE, VIOLET, TEAL = (70, 95, 185), (140, 75, 160), (30, 120, 125)

# Most colours belong to several classes, so that colour hints at a class without giving it away.
PALETTES = {
    "leaf": (GREEN, OLIVE, YELLOW, ORANGE, RED, BROWN),
    "berry": (RED, ORANGE, BLUE, VIOLET, DARK, GREEN),
    "mushroom": (BROWN, WHITE, RED, ORANGE, YELLOW, OLIVE),
    "flower": (YELLOW, WHITE, VIOLET, BLUE, RED, ORANGE),
    "beetle": (TEAL, RED, BROWN, DARK, BLUE, ORANGE),
    "butterfly": (BLUE, ORANGE, WHITE, YELLOW, BROWN, VIOLET),
}
TYPICAL = 0.8
"""Chance of an object to have the first colour of its class; otherwise any of them."""
FLOORS = {"soil": (105, 85, 65), "grass": (95, 115, 60), "boards": (150, 120, 85), "stone": (130, 130, 125),
          "snow": (190, 194, 200)}


def varied(rng: Rng, colour: Sequence[float], spread: float = 22.0) -> np.ndarray:
    return np.clip(np.asarray(colour) * rng.uniform(0.75, 1.25) + rng.normal(0, spread, 3), 5, 250)


def ellipse(x: float, y: float, a: float, b: float, angle: float = 0.0, points: int = 20) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([a * np.cos(t), b * np.sin(t)], axis=1) @ turned(angle).T + (x, y)


def turned(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def stroke(start: Sequence[float], end: Sequence[float], width: float) -> np.ndarray:
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width / 2
    return np.array([start - side, start + side, end + side, end - side])


def leaf(rng: Rng, colour: np.ndarray) -> list[Part]:
    t = np.linspace(-0.8, 1, 22)
    shift = (t - 0.1) / 0.9
    half = rng.uniform(0.42, 0.6) * (1 - shift**2) ** rng.uniform(0.6, 1.1) * (1 - rng.uniform(0, 0.4) * shift)
    half = np.maximum(half * (1 + rng.uniform(0, 0.25) * np.sin(rng.integers(8, 16) * t)), 0)
    bend = rng.uniform(-0.25, 0.25) * t**2
    parts = [(stroke((-1, bend[0]), (-0.75, bend[0]), 0.1), colour * 0.6),
             (np.concatenate([np.stack([t, bend + half], 1), np.stack([t, bend - half], 1)[::-1]]), colour)]
    vein = colour * rng.choice([0.65, 1.35])
    parts.append((np.concatenate([np.stack([t, bend + 0.03], 1), np.stack([t, bend - 0.03], 1)[::-1]]), vein))
    for row in range(4, 20, 4):
        for side in (-1, 1):
            root = np.array([t[row], bend[row]])
            parts.append((stroke(root, root + (0.18, side * 0.75 * half[row]), 0.04), vein))
    return parts


def berry(rng: Rng, colour: np.ndarray) -> list[Part]:
    parts: list[Part] = []
    count = int(rng.choice([1, 1, 1, 2, 3]))
    radius = (0.95, 0.6, 0.52)[count - 1]
    for row in range(count):
        angle = 2 * np.pi * row / count
        centre = (0.0, 0.0) if count == 1 else (0.45 * np.cos(angle), 0.45 * np.sin(angle))
        parts.append((ellipse(*centre, radius, radius * rng.uniform(0.85, 1)), colour * rng.uniform(0.85, 1.1)))
        shine = (centre[0] - 0.3 * radius, centre[1] - 0.35 * radius)
        parts.append((ellipse(*shine, 0.28 * radius, 0.2 * radius, 0.6), colour * 0.4 + 150))
    if rng.random() < 0.5:
        parts += [(ellipse(0.14 * np.cos(a), 0.14 * np.sin(a), 0.2, 0.06, a), (60, 80, 40))
                  for a in np.arange(5) * 2 * np.pi / 5]
    return parts


def mushroom(rng: Rng, colour: np.ndarray) -> list[Part]:
    width, height, foot = rng.uniform(0.7, 1), rng.uniform(0.55, 0.95), rng.uniform(0.14, 0.3)
    t = np.linspace(np.pi, 2 * np.pi, 16)
    cap = np.stack([width * np.cos(t), height * np.sin(t)], axis=1)
    rim = np.stack([width * np.cos(t[::-1]), -0.16 * np.sin(t[::-1])], axis=1)
    stem = varied(rng, WHITE, 12)
    parts = [(np.array([(-foot, 0), (foot, 0), (foot * 1.25, 0.95), (-foot * 1.25, 0.95)]), stem),
             (np.concatenate([cap, rim]), colour), (np.concatenate([rim, [(0, -0.02)]]), stem * 0.75)]
    if rng.random() < 0.4:
        spots = [(x * width, -0.15 - rng.uniform(0, 0.5) * height * (1 - x * x)) for x in rng.uniform(-0.7, 0.7, 5)]
        parts += [(ellipse(*spot, 0.11, 0.08), colour * 0.3 + 165) for spot in spots]
    return parts


def flower(rng: Rng, colour: np.ndarray) -> list[Part]:
    petals, wide, heart = int(rng.integers(5, 10)), rng.uniform(0.18, 0.34), rng.uniform(0.17, 0.32)
    angles = np.arange(petals) * 2 * np.pi / petals
    parts: list[Part] = [(ellipse(0.6 * np.cos(a), 0.6 * np.sin(a), 0.42, wide, a),
                          colour * (0.85 if row % 2 else 1.05)) for row, a in enumerate(angles)]
    parts.append((ellipse(0, 0, heart, heart), varied(rng, YELLOW if rng.random() < 0.7 else DARK)))
    return parts


def beetle(rng: Rng, colour: np.ndarray) -> list[Part]:
    wide, dark = rng.uniform(0.36, 0.6), varied(rng, DARK, 8)
    parts: list[Part] = [(stroke((x, 0), (x + lean, side * rng.uniform(0.55, 0.65)), 0.12), dark)
                         for x, lean in ((0.4, 0.25), (0.0, 0.0), (-0.4, -0.3)) for side in (-1, 1)]
    parts += [(ellipse(0.72, 0, 0.24, 0.24), dark), (ellipse(-0.1, 0, 0.8, wide), colour),
              (ellipse(0.48, 0, 0.2, wide * 0.75), dark), (stroke((-0.9, 0), (0.5, 0), 0.06), dark)]
    if rng.random() < 0.5:
        parts += [(ellipse(x, side * wide * 0.5, 0.12, 0.1), dark) for x in (-0.5, 0.0) for side in (-1, 1)]
    return parts


def butterfly(rng: Rng, colour: np.ndarray) -> list[Part]:
    spread, dark = rng.uniform(0.6, 1), varied(rng, DARK, 8)
    edge, patch = colour * 0.5, varied(rng, WHITE if rng.random() < 0.5 else DARK)
    parts: list[Part] = []
    for side in (-1, 1):
        for x, y, a, b, angle in ((0.3, 0.5, 0.55, 0.36, 0.9), (-0.38, 0.4, 0.42, 0.32, 2.4)):
            where = (x, side * y * spread)
            parts += [(ellipse(*where, a, b * spread, side * angle), edge),
                      (ellipse(*where, a * 0.8, b * spread * 0.78, side * angle), colour),
                      (ellipse(where[0] + 0.12, where[1] * 1.2, 0.1, 0.1), patch)]
    parts += [(stroke((0.6, 0), (0.95, side * 0.3), 0.05), dark) for side in (-1, 1)]
    return [*parts, (ellipse(0, 0, 0.7, 0.1), dark)]


SHAPES: dict[str, Callable[[Rng, np.ndarray], list[Part]]] = {
    "leaf": leaf, "berry": berry, "mushroom": mushroom, "flower": flower, "beetle": beetle, "butterfly": butterfly}


def thing(rng: Rng, name: str, length: float) -> tuple[np.ndarray, np.ndarray]:
    """One object of a class, in a pose and colouring of its own: (n, n, 3) float32 colours and (n, n) bool mask."""
    colours = PALETTES[name]
    colour = colours[0 if rng.random() < TYPICAL else rng.integers(len(colours))]
    parts = SHAPES[name](rng, varied(rng, colour))
    angle = rng.normal(0, 0.45) if name == "mushroom" else rng.uniform(0, 2 * np.pi)
    pose = turned(angle) @ turned(-0.3) @ np.diag([1, rng.uniform(0.75, 1)]) @ turned(0.3)
    return shaded(rng, *painted(parts, pose, length))


def pebble_or_twig(rng: Rng, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Litter that is no object: a stone, a twig, a blade or a scrap in the colours of the classes."""
    scraps = PALETTES["leaf"] + PALETTES["flower"]
    colour = varied(rng, scraps[rng.integers(len(scraps))])
    kind = rng.integers(4)
    if kind == 0:
        t = np.linspace(0, 2 * np.pi, int(rng.integers(5, 9)), endpoint=False)
        radius = rng.uniform(0.45, 0.9, len(t))
        parts = [(np.stack([radius * np.cos(t), 0.7 * radius * np.sin(t)], 1), varied(rng, FLOORS["stone"], 12))]
    elif kind == 1:
        parts = [(stroke((-1, 0), (1, 0.2), 0.1), varied(rng, BROWN)), (stroke((0, 0.1), (0.5, -0.5), 0.08),
                                                                      varied(rng, BROWN))]
    elif kind == 2:
        t = np.linspace(-1, 1, 12)
        curve = rng.uniform(-0.5, 0.5) * t**2
        parts = [(np.concatenate([np.stack([t, curve + 0.07 * (1 - t)], 1), np.stack([t, curve], 1)[::-1]]), colour)]
    else:
        parts = [(rng.uniform(-0.8, 0.8, (3, 2)), colour)]
    return shaded(rng, *painted(parts, turned(rng.uniform(0, 2 * np.pi)), length))


def painted(parts: Sequence[Part], pose: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Fills the polygons, turned by `pose` and cropped to what they cover."""
    placed = [(points @ pose.T * length / 2, colour) for points, colour in parts]
    low = np.floor(np.min([points.min(axis=0) for points, _ in placed], axis=0)) - 1
    size = np.ceil(np.max([points.max(axis=0) for points, _ in placed], axis=0) - low).astype(int) + 2
    picture, mask = Image.new("RGB", tuple(size.tolist())), Image.new("L", tuple(size.tolist()))
    paint, cover = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
    for points, colour in placed:
        corners = [tuple(point) for point in (points - low).tolist()]
        paint.polygon(corners, fill=tuple(int(min(max(channel, 0), 255)) for channel in colour))
        cover.polygon(corners, fill=255)
    return np.asarray(picture, dtype=np.float32), np.asarray(mask) > 0


def shaded(rng: Rng, picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light from one side, and a grain."""
    height, width = mask.shape
    down, across = rng.uniform(-0.2, 0.2, 2)
    light = down * np.linspace(-1, 1, height)[:, None] + across * np.linspace(-1, 1, width)
    grain = rng.uniform(0, 0.12) * rng.standard_normal(mask.shape, dtype=np.float32)
    return picture * (1 + light + grain)[..., None].astype(np.float32), mask


def clouds(rng: Rng, size: int, cells: int) -> np.ndarray:
    """(size, size) smooth noise of unit deviation with about `cells` lumps a side."""
    noise = Image.fromarray(rng.standard_normal((cells + 1, cells + 1), dtype=np.float32))
    return np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC))


def floor(rng: Rng, kind: str, size: int) -> np.ndarray:
    """(size, size, 3) float32 ground of a kind, unevenly lit."""
    grain = np.float32(rng.uniform(3, 12)) * rng.standard_normal((size, size), dtype=np.float32)
    rough = 9 * clouds(rng, size, 4) + 9 * clouds(rng, size, 14) + grain
    ground = varied(rng, FLOORS[kind], 10).astype(np.float32)
    picture = np.clip(ground + rough[..., None] * np.float32(0.4 if kind == "snow" else 1), 0, 255)
    if kind == "boards":
        across = np.arange(size, dtype=np.float32)[:, None] + 3 * clouds(rng, size, 3)
        turns = np.float32(2 * np.pi / size / rng.uniform(0.12, 0.35))
        grooves = np.sin(across * turns + np.float32(rng.uniform(0, 6)))
        picture *= np.where(grooves > 0.96, np.float32(0.75), 1 + np.float32(0.1) * grooves)[..., None]
        picture = picture if rng.random() < 0.5 else picture.swapaxes(0, 1)
    if kind in ("grass", "stone"):
        picture = np.asarray(_strewn(rng, kind, picture.astype(np.uint8)), dtype=np.float32)
    light = 1 + np.float32(rng.uniform(0, 0.12)) * clouds(rng, size, 1)
    return picture * light[..., None]


def _strewn(rng: Rng, kind: str, ground: np.ndarray) -> Image.Image:
    """Blades on grass, slabs on stone."""
    picture, size = Image.fromarray(ground), len(ground)
    paint = ImageDraw.Draw(picture)
    for x, y in rng.uniform(0, size, (90 if kind == "grass" else 14, 2)):
        if kind == "grass":
            lean, tall = rng.normal(0, 0.06, 2) * size - (0, 0.1 * size)
            points = stroke((x, y), (x + lean, y + tall), 2.5)
        else:
            points = ellipse(x, y, *rng.uniform(0.05, 0.2, 2) * size, rng.uniform(0, 3), points=6)
        colour = varied(rng, FLOORS[kind], 9)
        paint.polygon([tuple(point) for point in points.tolist()], fill=tuple(int(channel) for channel in colour))
    return picture


def spoiled(rng: Rng, picture: Image.Image) -> Image.Image:
    """A shot that went wrong: dark, out of focus or noisy."""
    kind = rng.integers(3)
    if kind == 1:
        return picture.filter(ImageFilter.GaussianBlur(picture.width * rng.uniform(0.015, 0.035)))
    pixels = np.asarray(picture, dtype=np.float32)
    if kind == 0:
        pixels = pixels * rng.uniform(0.12, 0.3) + rng.normal(0, 4, pixels.shape)
    else:
        pixels = pixels + rng.normal(0, rng.uniform(25, 45), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
