"""The look that all pictures share: colours, markers, panels, heat maps and how a picture is finished."""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import explain_codes, families, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#332288", "#cc6677", "#117733", "#88ccee", "#882255", "#ddcc77", "#44aa99", "#aa4499", "#999933")
"""Paul Tol's muted scheme (Colour Schemes, SRON/EPS/TN/09-002), which the colour-blind can tell apart too."""

CODEC_COLOURS = {
    "jpeg": "#4477aa", "webp": "#ee6677", "avif": "#228833", "jp2": "#ccbb44", "jxl": "#aa3377", "heic": "#66ccee",
}  # fmt: skip
"""Paul Tol's bright scheme (ibid.): a codec has its colour in every picture, whatever else is on it."""

MOST_COLOURS = len(COLOURS)
MOST_NUMBERED = 16
"""Rows of a heat map whose cells hold numbers."""

_RIGHT, _WRONG = "#00609c", "#b8460b"
"""Blue and orange, dark enough for text; a mark stands beside them, since colour alone is not for everyone."""

GREY = "0.75"
_MARKERS = "osD^vP*Xh"
_OTHER_CODECS = "#222222"
_DASHES = ("-", "--", "-.", ":")
_LEGEND_CHARACTERS = 40
_MARGIN_CHARACTERS = 16  # have room beside the panels
_TEXT_CHARACTERS = 13  # of a legend in an inch
_CAPTION_CHARACTERS = 14  # in an inch
_CARD_INCHES, _CARD_CHARACTERS = 3.45, 38
_WIDEST = 60  # inches, at most 2**16 pixels at the report's resolution


def look(place: int) -> dict[str, Any]:
    """Colour and marker of an encoder by its place; those after the last colour are grey."""
    if place >= MOST_COLOURS:
        return {"color": GREY, "linewidth": 0.8, "marker": ".", "markersize": 3, "zorder": 1}
    return {"color": COLOURS[place], "marker": _MARKERS[place], "markersize": 5, "linewidth": 1.5, "zorder": 3}


def codec_looks(curves: Sequence[str], place: int = 0) -> dict[str, dict[str, Any]]:
    """The look of the lines of codecs on one picture: a codec's colour, dashes for its variants, an encoder's marker.

    A codec of more than four variants has further markers.

    Args:
        curves: Names of the lines, such as `jpeg-444` or `resize-0.5+jpeg`.
        place: Of the encoder.

    >>> [(look["color"], look["linestyle"]) for look in codec_looks(["webp", "jpeg", "jpeg-444"]).values()]
    [('#ee6677', '-'), ('#4477aa', '-'), ('#4477aa', '--')]
    """
    used, looks = Counter[str](), {}
    for name in curves:
        words = re.split(r"[-+]", name)
        colour = next((CODEC_COLOURS[word] for word in reversed(words) if word in CODEC_COLOURS), _OTHER_CODECS)
        round_, dashes = divmod(used[colour], len(_DASHES))
        marker = _MARKERS[(place + round_) % len(_MARKERS)]
        used[colour] += 1
        looks[name] = {**look(0), "color": colour, "linestyle": _DASHES[dashes], "marker": marker}
    return looks


def wrapped(text: str, characters: int, lines: int = 2) -> str:
    """Text that can be drawn, see `plain`, in lines of a number of characters; what has no room in them is cut off."""
    return textwrap.fill(plain(text, lines * characters), characters)


def mark(right: bool) -> str:
    """A tick or a cross."""
    return "\N{CHECK MARK}" if right else "\N{BALLOT X}"


def mark_colour(right: bool) -> str:
    """The colour of what is right, or wrong."""
    return _RIGHT if right else _WRONG


def new_figure(width: float, height: float) -> "Figure":
    """A figure of a size in inches, which does not exceed what can be drawn."""
    from matplotlib.figure import Figure

    return Figure(figsize=(min(width, _WIDEST), min(height, _WIDEST)), dpi=100, layout="constrained")


def new_card(statement: str, height: float) -> tuple["Figure", Any]:
    """A figure for one statement, legible 230 pixels wide, as TensorBoard shows it first; and its axes.

    Args:
        statement: Its title; lines that are too long are broken.
        height: In inches; it is 3.45 wide, 690 pixels.
    """
    figure = new_figure(_CARD_INCHES, height)
    figure.set_dpi(200)
    lines = [line for part in statement.split("\n") for line in textwrap.wrap(plain(part, 120), _CARD_CHARACTERS)]
    figure.suptitle("\n".join(lines), fontsize=10, fontweight="bold")
    return figure, figure.subplots()


def new_panels(count: int, across: int, width: float, height: float, **options: Any) -> tuple["Figure", list[Any]]:
    """A figure with axes for `count` panels of a size in inches, `across` in a row.

    Args:
        count: At least 1.
        across: Panels in a row, at most.
        width: Of a panel.
        height: Of a panel.
        options: Of Matplotlib's `subplots`.
    """
    across = min(across, count)
    down = -(-count // across)
    figure = new_figure(width * across + 2.2, height * down + 0.5)
    grid = figure.subplots(down, across, squeeze=False, **options)
    for axes in grid.flat[count:]:
        axes.axis("off")
    return figure, list(grid.flat[:count])


def nothing(reason: str) -> "Figure":
    """A picture that says why there is nothing on it."""
    figure = new_figure(5, 1.2)
    figure.text(0.5, 0.5, reason, ha="center", va="center", fontsize=9)
    return finish(figure)


def finish(figure: "Figure", caption: str = "") -> "Figure":
    """Make all its text plain: no formulas, fonts that have the characters, and a caption below, which explains codes.

    Args:
        figure: With everything on it.
        caption: Sentences.
    """
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    codes = explain_codes(text.get_text() for text in texts)
    said = " ".join(part for part in (caption, codes) if part)
    if said:
        characters = max(30, int(_CAPTION_CHARACTERS * figure.get_figwidth()))
        texts.append(figure.supxlabel(textwrap.fill(said, characters), fontsize=8, color="0.3"))
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily(families(text.get_text().replace("\n", "")))
    return figure


def to_pixels(figure: "Figure") -> npt.NDArray[np.uint8]:
    """Draw a figure: uint8 [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def add_legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], **others: Any) -> None:
    """Name what is coloured one by one, then what is grey together, and then others by name."""
    names = [wrapped(label, _LEGEND_CHARACTERS, lines=3) for label in labels[:MOST_COLOURS]]
    if more := len(labels) - len(names):
        names.append(f"{more} more")
    shown = [*handles[: len(names)], *others.values()]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    figure.set_figwidth(min(figure.get_figwidth() + max(0, longest - _MARGIN_CHARACTERS) / _TEXT_CHARACTERS, _WIDEST))
    figure.legend(shown, [*names, *others], loc="outside right upper", frameon=False, fontsize=9)


def first_of(shown: int, all_of_them: int, what: str) -> str:
    """What a caption says where not everything is drawn; empty where it is.

    >>> first_of(12, 13, "views")
    'The first 12 of 13 views.'
    """
    return f"The first {shown:,} of {all_of_them:,} {what}." if shown < all_of_them else ""


def spread(values: Sequence[float], most: int) -> list[float]:
    """Of increasing values both ends, and so many between that neighbours keep a distance.

    Args:
        values: Any number of them.
        most: How many have room side by side, at least 2.

    >>> spread([1, 2, 3, 50, 99, 100], 5)
    [1, 50, 100]
    """
    if len(values) < 3:
        return list(values)
    gap = (values[-1] - values[0]) / most
    kept = [values[0]]
    for value in values[1:-1]:
        if value - kept[-1] >= gap and values[-1] - value >= gap:
            kept.append(value)
    return [*kept, values[-1]]


def signed_colours(middle: str) -> Any:
    """The colours of attributions, from what lowered the loss to what raised it.

    Args:
        middle: The colour of 0.
    """
    from matplotlib.colors import LinearSegmentedColormap

    from bench.attribution.overlay import LOWERED, RAISED

    lowered, raised = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (LOWERED, RAISED))
    return LinearSegmentedColormap.from_list("attribution", [lowered, middle, raised])


def name_cells(axes: Any, names: Sequence[str], side: str, size: float, rotation: float = 0) -> None:
    """Names of the rows or columns of a heat map; of many without ticks, each of which takes some ten times as long.

    Args:
        axes: Of the heat map.
        names: In order.
        side: "left" for rows, "bottom" for columns.
        size: Of the letters, in points.
        rotation: In degrees.
    """
    rows = side == "left"
    if len(names) <= MOST_NUMBERED:
        (axes.set_yticks if rows else axes.set_xticks)(range(len(names)), names, rotation=rotation)
        axes.tick_params(axis="y" if rows else "x", labelsize=size)
        return
    longest = max(names, key=len)
    style = {"ha": "right" if rows else "center", "va": "center" if rows else "top", "textcoords": "offset points"}
    edge = axes.get_yaxis_transform() if rows else axes.get_xaxis_transform()
    for place, name in enumerate(names):
        axes.annotate(
            name, (0, place) if rows else (place, 0), (-4, 0) if rows else (0, -4), edge,
            annotation_clip=False, fontsize=size, rotation=rotation, in_layout=name is longest, **style,
        )  # fmt: skip


def write_numbers(axes: Any, image: Any, least: float = 0.0, decimals: int = 2, bold: Any = None) -> None:
    """The values in a heat map's cells, from `least` in size; in black or white, whichever is legible.

    Args:
        axes: Of the heat map.
        image: The heat map.
        least: Size of the smallest value that is written.
        decimals: Of the values.
        bold: Which cells are in bold, bool of the heat map's shape; none where None.
    """
    values = np.ma.filled(image.get_array().astype(np.float64), np.nan)
    if len(values) > MOST_NUMBERED:
        return
    light = image.cmap(image.norm(values))[..., :3] @ np.array([0.2126, 0.7152, 0.0722])
    for (row, column), value in np.ndenumerate(values):
        if abs(value) >= least:
            colour = "black" if light[row, column] > 0.45 else "white"
            text = f"{round(value, decimals) + 0.0:.{decimals}f}"  # without the sign of a zero
            weight = "bold" if bold is not None and bold[row, column] else "normal"
            style = {"ha": "center", "va": "center", "fontsize": 6.5, "color": colour, "fontweight": weight}
            axes.text(column, row, text, in_layout=False, **style)  # lies within the cell: measuring takes long
