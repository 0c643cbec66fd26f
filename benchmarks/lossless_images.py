"""Images that were never lossy, of many kinds, for the audit to be fitted and judged on.

Rendered: dead leaves (Lee, Mumford and Huang 2001), fields with a power-law spectrum, text, gradients, gratings, flat
graphics, grain, screens, dithered palettes, pixel art, mosaicked and demosaicked scenes (Bayer 1976), and each of them
enlarged or sharpened. Real: CIFAR-10 at 32 pixels, mosaics of CIFAR-10 at larger sizes, and crops of scikit-image's and
scikit-learn's photographs that were made three times smaller, which leaves nothing of what they were stored as.

A part, "fit" or "judge", has random numbers, CIFAR-10 images and photographs of its own.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import convolve

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Part = Literal["fit", "judge"]
Renderer = Callable[[int, int, np.random.Generator], Bytes]

_PHOTOGRAPHS = {
    "fit": ("astronaut", "coffee", "retina", "china"),
    "judge": ("rocket", "hubble_deep_field", "chelsea", "flower", "immunohistochemistry"),
}
_LETTERS = "etaoin shrdlu cmfwyp vbgkqj ETAOIN 0123456789 .,;:()[]{}+=-/"
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def _finish(canvas: npt.NDArray[np.floating], rng: np.random.Generator, grain: float | None = None) -> Bytes:
    """Add grain of a random strength (often none) and round, to a range that is not always the whole one."""
    strength = rng.choice([0, 0, 0.5, 1, 2, 4, 8]) if grain is None else grain
    canvas = canvas.astype(np.float32)
    if strength:
        canvas += strength * rng.standard_normal(canvas.shape, np.float32)
    return np.asarray(canvas.clip(0, 255).round(), np.uint8)


def dead_leaves(width: int, height: int, rng: np.random.Generator, grain: float | None = None) -> Bytes:
    """Discs of random size and colour that hide each other, drawn at twice the size and averaged."""
    image = Image.new("RGB", (2 * width, 2 * height), _colour(rng))
    draw = ImageDraw.Draw(image)
    largest = min(width, height) / 2
    count = int(rng.integers(60, 400))
    radii = 1 / rng.uniform(1 / largest, 1 / 2, count)
    places = rng.uniform(0, 1, (count, 2)) * (2 * width, 2 * height)
    for (x, y), radius in zip(places, np.sort(2 * radii)[::-1], strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng))
    small = np.asarray(image.reduce(2), np.float32)
    shade = _field(width, height, rng, 2.5)[..., None]
    return _finish(small * (1 + rng.uniform(0, 0.3) * shade), rng, grain)


def spectrum(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """A random field with a power-law spectrum, as scenes have, in weakly correlated colours."""
    slope, contrast = rng.uniform(0.5, 3), rng.uniform(5, 60)
    base = _field(width, height, rng, slope)
    colour = [0.8 * base + 0.4 * _field(width, height, rng, slope) for _ in range(3)]
    return _finish(128 + contrast * np.stack(colour, -1), rng)


def text(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Lines of letters on paper, smoothed or not."""
    image = Image.new("RGB", (width, height), _colour(rng, 180, 256))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "L" if rng.random() < 0.7 else "1"
    size, ink = float(rng.uniform(8, 28)), _colour(rng, 0, 90)
    font, step = ImageFont.load_default(size), int(size * 1.3) + 1
    for y in range(int(rng.integers(0, 8)), height, step):
        draw.text((int(rng.integers(0, 12)), y), "".join(rng.choice(list(_LETTERS), width // 4)), ink, font)
    return _finish(np.asarray(image), rng, rng.choice([0, 0, 1, 2]))


def gradient(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """A smooth ramp or a vignette, banded or dithered."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (np.cos(angle) * x + np.sin(angle) * y) / max(width, height)
    if rng.random() < 0.5:
        ramp = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height)) / max(width, height)
    first, second = rng.uniform(0, 255, (2, 3))
    return _finish(first + (second - first) * ramp[..., None], rng, rng.choice([0, 0.3, 1, 3]))


def gratings(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Sine and square waves of several directions, some with a period that divides eight."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    canvas = np.full((height, width, 3), 128, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.3:
            period = rng.choice([2, 4, 8, 16])
            wave = np.sin(2 * np.pi * (x if rng.random() < 0.5 else y) / period + rng.uniform(0, 6))
        else:
            angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(2.1), np.log(40)))
            wave = np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period)
        wave = np.sign(wave) if rng.random() < 0.3 else wave
        canvas += rng.uniform(3, 50) * wave[..., None] * rng.uniform(0.5, 1, 3)
    return _finish(canvas, rng)


def graphics(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Boxes, lines and polygons in flat colours, with hard or soft edges."""
    scale = 1 if rng.random() < 0.5 else 3
    image = Image.new("RGB", (scale * width, scale * height), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(5, 60))):
        xy = (rng.uniform(0, 1, (4, 2)) * image.size).round()
        kind = rng.integers(0, 3)
        if kind == 0:
            draw.rectangle([*xy[:2].min(0), *xy[:2].max(0)], fill=_colour(rng), outline=_colour(rng))
        elif kind == 1:
            draw.line([tuple(point) for point in xy], fill=_colour(rng), width=int(rng.integers(1, 4)) * scale)
        else:
            draw.polygon([tuple(point) for point in xy[:3]], fill=_colour(rng))
    return _finish(np.asarray(image.reduce(scale)), rng, rng.choice([0, 0, 0, 1, 3]))


def screen(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """What a window shows: panels with text, icons, a picture."""
    image = Image.fromarray(graphics(width, height, rng))
    for part in (text, dead_leaves, gradient):
        w, h = (max(16, int(side * rng.uniform(0.2, 0.6))) for side in (width, height))
        place = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        image.paste(Image.fromarray(part(w, h, rng)), place)
    return np.asarray(image)


def grain(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Nothing but noise on grey, of one of several strengths, gray or coloured."""
    canvas = np.full((height, width, 3), rng.uniform(40, 215), np.float32)
    noise = rng.standard_normal((height, width, rng.choice([1, 3])), np.float32)
    return _finish(canvas + np.exp(rng.uniform(-1, 4)) * noise, rng, 0)


def palette(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Few colours, with or without dithering, as in a GIF."""
    image = Image.fromarray(rng.choice(np.array([dead_leaves, spectrum, gradient], object))(width, height, rng))
    dither = Image.Dither.FLOYDSTEINBERG if rng.random() < 0.5 else Image.Dither.NONE
    web = image.convert("P", palette=Image.Palette.WEB, dither=Image.Dither.FLOYDSTEINBERG)
    few = image.quantize(int(rng.choice([4, 16, 64, 256])), dither=dither)
    return np.asarray((web if rng.random() < 0.2 else few).convert("RGB"))


def pixel_art(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """A small picture with each pixel repeated 2 to 8 times, which aligns with blocks."""
    factor = int(rng.integers(2, 9))
    kind = rng.choice(np.array([graphics, dead_leaves, spectrum], object))
    small = kind(*(max(8, -(-side // factor) + 1) for side in (width, height)), rng)
    return np.ascontiguousarray(small.repeat(factor, 0).repeat(factor, 1)[:height, :width])


def demosaicked(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """A scene seen through Bayer's mosaic, with noise, and interpolated bilinearly, as a camera's raw pixels are."""
    scene = rng.choice(np.array([dead_leaves, spectrum], object))(width, height, rng).astype(np.float32)
    scene += rng.choice([0.5, 1, 2, 4]) * rng.standard_normal(scene.shape, np.float32)
    y, x = np.mgrid[:height, :width]
    planes = ((y % 2 == 0) & (x % 2 == 0), (y + x) % 2 == 1, (y % 2 == 1) & (x % 2 == 1))
    quarter = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
    kernels = (quarter, cross, quarter)
    full = [convolve(scene[..., n] * planes[n], kernels[n], mode="mirror") for n in range(3)]
    return _finish(np.stack(full, -1), rng, 0)


def enlarged(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Another kind, made larger or a little smaller."""
    factor = np.exp(rng.uniform(np.log(0.7), np.log(4)))
    kind = rng.choice(np.array([dead_leaves, spectrum, text, graphics, grain], object))
    image = Image.fromarray(kind(max(16, round(width / factor)), max(16, round(height / factor)), rng))
    return np.asarray(image.resize((width, height), _FILTERS[rng.integers(0, 3)]))


def sharpened(width: int, height: int, rng: np.random.Generator) -> Bytes:
    """Another kind after unsharp masking."""
    kind = rng.choice(np.array([dead_leaves, spectrum, demosaicked], object))
    scene = kind(width, height, rng).astype(np.float32)
    blur = np.ones((3, 3, 1), np.float32) / 9
    return _finish(scene + rng.uniform(0.3, 1.5) * (scene - convolve(scene, blur, mode="nearest")), rng, 0)


RENDERERS: dict[str, Renderer] = {
    "leaves": dead_leaves, "spectrum": spectrum, "text": text, "gradient": gradient, "gratings": gratings,
    "graphics": graphics, "screen": screen, "grain": grain, "palette": palette, "pixel art": pixel_art,
    "demosaicked": demosaicked, "enlarged": enlarged, "sharpened": sharpened,
}  # fmt: skip


def rendered(width: int, height: int, count: int, part: Part, seed: int = 0) -> Iterator[tuple[str, Bytes]]:
    """Images of all kinds in turn, each with its kind."""
    names = list(RENDERERS)
    for number in range(count):
        rng = np.random.default_rng((seed, part == "judge", width, height, number))
        name = names[number % len(names)]
        yield name, RENDERERS[name](width, height, rng)


def mosaics(
    cifar: Bytes, width: int, height: int, count: int, part: Part, seed: int = 0
) -> Iterator[tuple[str, Bytes]]:
    """Canvases laid out with CIFAR-10's images, uint8 [N, 32, 32, 3], from a random place on."""
    rows, columns = height // 32 + 2, width // 32 + 2
    for number in range(count):
        rng = np.random.default_rng((seed, part == "judge", number))
        chosen = cifar[rng.integers(0, len(cifar), rows * columns)].reshape(rows, columns, 32, 32, 3)
        canvas = chosen.transpose(0, 2, 1, 3, 4).reshape(32 * rows, 32 * columns, 3)
        y, x = rng.integers(0, 32, 2)
        yield "mosaic", np.ascontiguousarray(canvas[y : y + height, x : x + width])


@cache
def _photographs(part: Part) -> list[Image.Image]:
    from skimage import data
    from sklearn.datasets import load_sample_image

    whole = []
    for name in _PHOTOGRAPHS[part]:
        pixels = load_sample_image(f"{name}.jpg") if name in ("china", "flower") else getattr(data, name)()
        whole.append(Image.fromarray(np.asarray(pixels)[..., :3]))
    return whole


def shrunken(width: int, height: int, part: Part, rng: np.random.Generator) -> Bytes | None:
    """A crop of a real photograph, made three times smaller; None where none is large enough."""
    fitting = [image for image in _photographs(part) if image.width >= 3 * width and image.height >= 3 * height]
    if not fitting:
        return None
    image = fitting[rng.integers(0, len(fitting))]
    x, y = int(rng.integers(0, image.width - 3 * width + 1)), int(rng.integers(0, image.height - 3 * height + 1))
    box = (x, y, x + 3 * width, y + 3 * height)
    return np.asarray(image.resize((width, height), _FILTERS[rng.integers(0, 3)], box))


def photographs(width: int, height: int, count: int, part: Part, seed: int = 0) -> Iterator[tuple[str, Bytes]]:
    """Crops of real photographs, made three times smaller; none where none is large enough."""
    for number in range(count):
        rng = np.random.default_rng((seed, part == "judge", number))
        if (found := shrunken(width, height, part, rng)) is not None:
            yield "photograph", found


def cifar_images(file: Path) -> Bytes:
    """Images of a sprite of which each row is one, uint8 [N, 32, 32, 3]."""
    return np.asarray(Image.open(file).convert("RGB")).reshape(-1, 32, 32, 3)


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, ...]:
    return tuple(int(value) for value in rng.integers(low, high, 3))


def _field(width: int, height: int, rng: np.random.Generator, slope: float) -> Floats:
    """A Gaussian field of unit variance whose amplitude falls with the frequency to the power of the slope's half."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    gain = (np.maximum(np.hypot(fy, fx), 1 / max(width, height)) ** (-slope / 2)).astype(np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width), np.float32)) * gain, (height, width))
    return np.asarray(noise / noise.std(), np.float32)
