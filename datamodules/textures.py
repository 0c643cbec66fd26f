"""Draw pictures whose class is a texture so fine that compression damages it.

A piece of cloth lies on a smooth background among plain shapes. Position, outline, size, colour, shading and sensor
noise are random and say nothing about the class; only the texture does. Luminance textures have cells of one or two
pixels, where JPEG's quantisation steps are wide; colour textures vary at constant luminance, where 4:2:0 subsampling
comes on top. Their strength is random, and the faintest are lost first, so the damage is graded.

Only sums, products, comparisons and correctly rounded square roots are used: the pixels depend on NumPy's Philox
stream and IEEE arithmetic, not on the platform's mathematics library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Cells = NDArray[np.int64]
Plane = NDArray[np.float32]
Pattern = Callable[[Cells, Cells], Cells | Plane]
"""Columns and rows in pixels to values in [-1, 1]."""

SIZES = (32, 96)
"""Sides in pixels: those of CIFAR-10 and of STL-10."""

_LUMA = (1.0, 1.0, 1.0)
_RED_GREEN = (1.402, -0.714136, 0.0)  # Cr and Cb of ITU-R BT.601: their luminance is zero
_BLUE_YELLOW = (0.0, -0.344136, 1.772)
_NOISE = 4  # grey levels, at most
_KNOTS = 4  # of the background, per side
_PERIOD = 48  # pixels, a multiple of every period


def _checks(x: Cells, y: Cells) -> Cells:
    return (x + y) % 2 * 2 - 1


def _left_twill(x: Cells, y: Cells) -> Cells:
    return (x - y) // 2 % 2 * 2 - 1


def _right_twill(x: Cells, y: Cells) -> Cells:
    return (x + y) // 2 % 2 * 2 - 1


def _dots(x: Cells, y: Cells) -> Plane:
    return np.where((x % 2 == 0) & (y % 2 == 0), 1, -1 / 3).astype(np.float32)


def _herringbone(x: Cells, y: Cells) -> Cells:
    return (y + np.abs(x % 8 - 4)) // 2 % 2 * 2 - 1


def _basket(x: Cells, y: Cells) -> Cells:
    return np.where((x // 4 + y // 4) % 2 == 1, x, y) % 2 * 2 - 1


def _bricks(x: Cells, y: Cells) -> Cells:
    return np.where((y % 3 == 0) | ((x + 3 * (y // 3 % 2)) % 6 == 0), 1, -1)


def _triangle(position: Cells, half_period: int) -> Plane:
    return (np.abs(position % (2 * half_period) - half_period) / half_period * 2 - 1).astype(np.float32)


def _vertical_stripes(half_period: int) -> Pattern:
    return lambda x, y: _triangle(x, half_period)


def _horizontal_stripes(half_period: int) -> Pattern:
    return lambda x, y: _triangle(y, half_period)


def _soft_checks(half_period: int) -> Pattern:
    return lambda x, y: _triangle(x, half_period) * _triangle(y, half_period)


def _coarse(pattern: Pattern) -> Pattern:
    """The same with cells of two pixels, which survive a reduction from 96 to 64 pixels."""
    return lambda x, y: pattern(x // 2, y // 2)


@dataclass(frozen=True)
class Weave:
    """How a texture looks at one image size.

    Attributes:
        pattern: Its shape.
        faintest: Smallest amplitude, in grey levels.
        strongest: Largest amplitude.
    """

    pattern: Pattern
    faintest: int
    strongest: int


@dataclass(frozen=True)
class Texture:
    """A class.

    Attributes:
        name: As it is put into the prompt.
        colour: Change of red, green and blue per grey level of amplitude.
        weaves: By image size.
    """

    name: str
    colour: tuple[float, float, float]
    weaves: dict[int, Weave]


# Each amplitude range is set so that quality 75 spares nearly all textures, and quality 25 about two in three.
TEXTURES = (
    Texture("checkerboard weave", _LUMA, {32: Weave(_checks, 12, 52), 96: Weave(_coarse(_checks), 6, 36)}),
    Texture("left-leaning twill", _LUMA, {32: Weave(_left_twill, 14, 56), 96: Weave(_left_twill, 10, 48)}),
    Texture("right-leaning twill", _LUMA, {32: Weave(_right_twill, 14, 56), 96: Weave(_right_twill, 10, 48)}),
    Texture("dotted cloth", _LUMA, {32: Weave(_dots, 18, 60), 96: Weave(_coarse(_dots), 6, 36)}),
    Texture("herringbone", _LUMA, {32: Weave(_herringbone, 14, 56), 96: Weave(_herringbone, 10, 48)}),
    Texture("basket weave", _LUMA, {32: Weave(_basket, 12, 48), 96: Weave(_coarse(_basket), 4, 24)}),
    Texture("brick lattice", _LUMA, {32: Weave(_bricks, 8, 40), 96: Weave(_coarse(_bricks), 4, 24)}),
    Texture(
        "vertical red-green stripe",
        _RED_GREEN,
        {32: Weave(_vertical_stripes(4), 18, 44), 96: Weave(_vertical_stripes(3), 10, 44)},
    ),
    Texture(
        "horizontal red-green stripe",
        _RED_GREEN,
        {32: Weave(_horizontal_stripes(4), 18, 44), 96: Weave(_horizontal_stripes(3), 10, 44)},
    ),
    Texture(
        "blue-yellow check", _BLUE_YELLOW, {32: Weave(_soft_checks(6), 16, 37), 96: Weave(_soft_checks(4), 14, 37)}
    ),
)


def render(texture: Texture, size: int, rng: Generator) -> NDArray[np.uint8]:
    """Draw one picture of a texture.

    Everything but the texture is drawn from the generator alone: two textures rendered from equal generators differ in
    nothing else.

    Args:
        texture: The class.
        size: 32 or 96, the side in pixels.
        rng: Source of everything random.

    Returns:
        uint8 [size, size, 3], RGB.

    >>> render(TEXTURES[0], 32, np.random.default_rng(0)).shape
    (32, 32, 3)
    """
    x, y, centres, blend = _grid(size)
    image = _background(rng, blend)
    for _ in range(2):
        _paint(image, _outline(rng, centres, radius=(0.08, 0.22), spread=0.45), _plain_colour(rng))
    cloth_outline = _outline(rng, centres, radius=(0.22, 0.42), spread=0.12)
    _paint(image, cloth_outline, _cloth(texture.weaves[size], texture.colour, rng, (x, y), centres))
    _paint(image, _outline(rng, centres, radius=(0.08, 0.22), spread=0.45), _plain_colour(rng))
    noise = rng.integers(0, _NOISE + 1)
    image += rng.integers(-noise, noise + 1, image.shape, dtype=np.int8)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(1, 2, 0)


@lru_cache(maxsize=len(SIZES))
def _grid(size: int) -> tuple[Cells, Cells, Plane, Plane]:
    """Columns, rows, pixel centres in (0, 1), and each knot's weight in the background, [_KNOTS, size]."""
    y, x = np.mgrid[0:size, 0:size]
    centres = (np.arange(size) + 0.5) / size
    position = centres * (_KNOTS - 1)
    left = position.astype(np.int64)
    step = position - left
    step = step * step * (3 - 2 * step)
    blend = np.zeros((_KNOTS, size))
    blend[left, np.arange(size)] = 1 - step
    blend[left + 1, np.arange(size)] = step
    return x, y, centres.astype(np.float32), blend.astype(np.float32)


def _background(rng: Generator, blend: Plane) -> Plane:
    """Random colours at the knots, smoothly blended: [3, size, size]."""
    grey = rng.integers(48, 208, (1, _KNOTS, _KNOTS))
    knots = (grey + rng.integers(-40, 41, (3, _KNOTS, _KNOTS))).astype(np.float32)
    # element by element, not a matrix product: BLAS libraries add in different orders
    rows = sum(knots[:, :, k, None] * blend[k] for k in range(_KNOTS))
    image: Plane = sum(rows[:, k, None, :] * blend[k][:, None] for k in range(_KNOTS))
    return image


def _plain_colour(rng: Generator) -> Plane:
    colour = rng.integers(48, 208) + rng.integers(-40, 41, (3, 1, 1))
    return colour.astype(np.float32)


def _outline(rng: Generator, centres: Plane, radius: tuple[float, float], spread: float) -> Plane:
    """Coverage in [0, 1] of a disc, square, diamond or octagon, [size, size]; lengths in image sides."""
    middle = 0.5 + spread * (2 * rng.random(2) - 1)
    reach = radius[0] + (radius[1] - radius[0]) * rng.random()
    kind = rng.integers(4)
    across = np.abs(centres - np.float32(middle[0]))[None, :]
    down = np.abs(centres - np.float32(middle[1]))[:, None]
    if kind == 0:
        distance = np.sqrt(across * across + down * down)
    elif kind == 1:
        distance = np.maximum(across, down) * np.float32(1.1)
    elif kind == 2:
        distance = (across + down) * np.float32(0.8)
    else:
        distance = np.maximum(np.maximum(across, down), (across + down) * np.float32(0.72))
    coverage: Plane = np.clip((np.float32(reach) - distance) * len(centres) + np.float32(0.5), 0, 1)
    return coverage


def _cloth(
    weave: Weave, colour: tuple[float, float, float], rng: Generator, pixels: tuple[Cells, Cells], centres: Plane
) -> Plane:
    """A shaded plain colour plus the texture at a random phase: [3, size, size]."""
    base = rng.integers(90, 166, (3, 1, 1)).astype(np.float32)
    tilt = rng.integers(-24, 25, 2).astype(np.float32)
    shading = tilt[0] * (centres - np.float32(0.5))[None, :] + tilt[1] * (centres - np.float32(0.5))[:, None]
    amplitude = np.float32(weave.faintest + (weave.strongest - weave.faintest) * rng.random())
    phase = rng.integers(0, _PERIOD, 2)
    texture = amplitude * weave.pattern(pixels[0] + phase[0], pixels[1] + phase[1]).astype(np.float32)
    cloth: Plane = base + shading + texture * np.asarray(colour, np.float32)[:, None, None]
    return cloth


def _paint(image: Plane, coverage: Plane, colour: Plane) -> None:
    image += coverage * (colour - image)
