"""Colours that can be told apart, text that can be read, and what the room imports."""

import ast
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from bench.figures import lettering
from bench.figures.lettering import CJK_FAMILIES, FAMILY, families, plain
from bench.figures.style import CODEC_COLOURS, COLOURS, codec_looks, finish, look, to_pixels, write_numbers

ROOM = Path(__file__).parents[3] / "bench/figures"
SIGHT = {  # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def lab(colour, sight):
    """CIE L*a*b* (D65) of a colour as somebody sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(sight) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_difference(colours, sight):
    return min(np.linalg.norm(lab(a, sight) - lab(b, sight)) for a, b in combinations(colours, 2))


@pytest.mark.parametrize("sight", SIGHT.values(), ids=SIGHT)
@pytest.mark.parametrize("colours", [COLOURS, [*CODEC_COLOURS.values()]], ids=["encoders", "codecs"])
def test_colours_differ_for_the_colour_blind_too(colours, sight):
    assert least_difference(colours, sight) > 15


def test_a_codec_has_its_colour_and_an_encoder_its_marker_whatever_else_is_drawn():
    alone, among = codec_looks(["jpeg"], 2)["jpeg"], codec_looks(["webp", "jpeg-444", "jpeg", "resize-0.5+jpeg"], 2)
    assert {found["color"] for name, found in among.items() if "jpeg" in name} == {alone["color"]}
    assert {found["marker"] for found in among.values()} == {look(2)["marker"]}
    assert len({found["linestyle"] for name, found in among.items() if "jpeg" in name}) == 3


def test_lines_of_many_variants_of_a_codec_differ():
    looks = codec_looks([*(f"jpeg-{n}" for n in range(9)), "webp"], place=8).values()
    assert len({(found["color"], found["linestyle"], found["marker"]) for found in looks}) == 10


def test_matplotlibs_own_colours_would_not():
    own = [f"C{place}" for place in range(len(COLOURS))]
    assert [least_difference(own, sight) > 15 for sight in SIGHT.values()] == [True, False, False]


def test_each_coloured_line_has_a_marker_of_its_own():
    assert len({look(place)["marker"] for place in range(len(COLOURS))}) == len(COLOURS)


@pytest.fixture
def without_cache():
    """Fonts are looked up again before and after."""
    caches = (lettering._family, lettering._installed)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def no_cjk(monkeypatch, without_cache):
    kept = [font for font in fontManager.ttflist if font.name not in CJK_FAMILIES]
    monkeypatch.setattr(fontManager, "ttflist", kept)


@pytest.fixture
def cjk_font(no_cjk, tmp_path):
    """A font that has 飞 as a filled square, under the name of a known family."""
    pen = TTGlyphPen(None)
    for draw, point in [(pen.moveTo, (0, 0)), *((pen.lineTo, end) for end in [(0, 900), (900, 900), (900, 0)])]:
        draw(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "fly"])
    builder.setupCharacterMap({ord("飞"): "fly"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "fly": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "fly": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "IPAGothic", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "font.ttf")
    fontManager.addfont(tmp_path / "font.ttf")
    lettering._characters.cache_clear()


def written(text):
    figure = Figure(figsize=(4, 2), dpi=50)
    figure.text(0.5, 0.5, plain(text), ha="center", va="center", fontsize=40)
    return finish(figure)


def test_characters_are_drawn_in_a_font_that_has_them(cjk_font):
    figure = written("飞")
    assert figure.texts[0].get_text() == "飞"
    assert families("飞") == [FAMILY, "IPAGothic"]
    assert not figure.get_supxlabel()
    ink = (to_pixels(figure) < 128).all(-1).sum()
    assert ink == pytest.approx((0.9 * 40 / 72 * 50) ** 2, rel=0.1)  # the square, 0.9 of 40 points at 50 per inch


def test_characters_of_no_font_become_codes_and_that_is_said(no_cjk):
    figure = written("飞 \ud800\U0001f9ff")
    assert figure.texts[0].get_text() == "\\u98de \\ud800\\U0001f9ff"
    assert figure.get_supxlabel().replace("\n", " ").startswith("Codes such as \\u98de: characters that no font")
    to_pixels(figure)  # a glyph that is missing is a warning, and that an error


def test_numbers_are_legible_on_dark_and_on_light_cells():
    axes = Figure().subplots()
    write_numbers(axes, axes.imshow([[0.0, np.nan, 1.0]], cmap="gray", vmin=0, vmax=1))
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [("0.00", "white"), ("1.00", "black")]


def test_the_room_imports_nothing_but_numpy_and_pillow():
    standard = {"collections", "dataclasses", "functools", "itertools", "io", "math", "re", "textwrap", "typing"}
    for file in ROOM.glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            for name in names:
                assert name.startswith("bench.figures.") or name.split(".")[0] in standard | {"numpy", "PIL"}, file
