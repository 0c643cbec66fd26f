"""One image's attributions: all views on one picture, and a card for each view."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.figures.lettering import plain
from bench.figures.style import finish, first_of, mark, mark_colour, new_figure, new_panels, nothing, signed_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.attribution.overlay import Layer, Overlay

MOST_VIEWS = 24
_MOST_ACROSS = 6  # are legible side by side on a page
_TILE_INCHES = (2.3, 2.55)
_LINE_CHARACTERS = 40
_CARD_INCHES, _CARD_TILE_INCHES, _CARD_HEAD_INCHES = (6.9, 8.5), 3.35, 1.45
_CARD_CHARACTERS = 34
_CARD_TILES = 4


@dataclass(frozen=True)
class AttributedView:
    """A column of the picture.

    Attributes:
        name: Of the view.
        image: uint8 [3, S, S], as the encoder sees it.
        predicted: Class.
        right: Whether that is the true class.
        score: Probability of the true class in [0, 1].
        total: Sum of the attribution in nats; None where there is none.
        attribution: float [3, S, S], positive where compression raised the loss; None where there is none.
    """

    name: str
    image: npt.NDArray[np.uint8]
    predicted: str
    right: bool
    score: float
    total: float | None = None
    attribution: npt.NDArray[np.floating] | None = None

    @property
    def finite(self) -> bool:
        """Whether there is a map that can be drawn."""
        return self.attribution is not None and bool(np.isfinite(self.attribution).all())

    @property
    def sides(self) -> tuple[float, float]:
        """What pixels raised and what pixels lowered the loss by, at least 0 and at most 0, in nats."""
        assert self.attribution is not None
        signed = self.attribution.astype(np.float64).sum(axis=0)
        return float(signed.clip(min=0).sum()), float(signed.clip(max=0).sum())


def attribution_picture(
    title: str, views: Sequence[AttributedView], overlay: "Overlay", baseline: str, sigma: float
) -> "Figure":
    """A column per view; the images in the first row, then a row per layer of the overlay; of many views in blocks.

    Args:
        title: Which image it is.
        views: The first `MOST_VIEWS` are drawn.
        overlay: How attributions are drawn; it also knows what the colours mean, which the baseline's column says.
        baseline: The view where the attributions start.
        sigma: Of the smoothed maps, in pixels; see `bench.attribution.overlay.smoothing`.
    """
    shown = views[:MOST_VIEWS]
    if not shown:
        return nothing(f"{plain(title)}: no view")
    drawn, layers = _layers(shown, overlay, sigma)
    rows = 1 + len(layers)
    blocks = -(-len(shown) // _MOST_ACROSS)
    across = -(-len(shown) // blocks)
    figure, grid = new_panels(blocks * rows * across, across, *_TILE_INCHES)
    figure.suptitle(plain(title, 30 + 20 * across), fontsize=11)
    for place in range(blocks * across):
        block, column = divmod(place, across)
        first, *others = grid[block * rows * across + column : (block + 1) * rows * across : across]
        if column == across - 1:
            for axes, layer in zip(others, layers, strict=True):
                if layer.end:
                    _colour_bar(figure, axes, layer.end)
        if place >= len(shown):
            for axes in (first, *others):
                axes.axis("off")
            continue
        view = shown[place]
        _show(first, view.image, view.right)
        lines = "\n".join(plain(line, _LINE_CHARACTERS) for line in _lines(view))
        first.set_title(lines, fontsize=8, **_emphasis(view))
        for axes, layer in zip(others, layers, strict=True):
            axes.axis("off")
            if view.name == baseline:
                _write(axes, f"{layer.name}\n\n{layer.meaning}".replace("; ", "\n\n").replace(": ", ":\n"))
            elif view.name in drawn:
                axes.imshow(layer.pictures[drawn.index(view.name)].transpose(1, 2, 0))
            elif view.attribution is not None:
                _write(axes, "the attribution\nis not finite")
    name = plain(baseline)
    told = (
        f"Score: probability of the true class. Sum: of the attribution of loss(view) - loss({name}) over pixels; "
        f"raised and lowered: of the pixels above and below 0, colour channels added up. {overlay.caption()}"
    )
    return finish(figure, f"{told} {first_of(len(shown), len(views), 'views')}".rstrip())


def attribution_cards(
    title: str, views: Sequence[AttributedView], overlay: "Overlay", baseline: str, sigma: float
) -> Iterator[tuple[str, "Figure"]]:
    """A picture per attributed view that is legible when it is 230 pixels wide: four tiles under two lines.

    Scales are those of `attribution_picture`, whose arguments these are.
    """
    shown = views[:MOST_VIEWS]
    drawn, layers = _layers(shown, overlay, sigma)
    start = next((view for view in shown if view.name == baseline), None)
    for place, name in enumerate(drawn):
        view = next(view for view in shown if view.name == name)
        tiles = [(name, view.image), *((_short(layer), layer.pictures[place]) for layer in layers)]
        if start is not None and len(tiles) < _CARD_TILES:
            tiles.insert(0, (baseline, start.image))
        yield name, _card(title, view, tiles)


def _card(title: str, view: AttributedView, tiles: Sequence[tuple[str, npt.NDArray[np.uint8]]]) -> "Figure":
    figure = new_figure(*_CARD_INCHES)
    raised, lowered = view.sides
    said = f"{title}, {view.name}:\n{mark(view.right)} {plain(view.predicted, _CARD_CHARACTERS)}"
    said += f"\n{raised + lowered:+.1f} nats = {raised:+.1f} {lowered:+.1f}"
    figure.set_layout_engine("none")  # there are many cards, and finding a layout takes most of the time
    figure.suptitle(said, fontsize=21, y=0.995, va="top", **_emphasis(view))
    width, height = (_CARD_TILE_INCHES / inches for inches in _CARD_INCHES)
    for place, (name, image) in enumerate(tiles):
        down, across = divmod(place, 2)
        bottom = 1 - height - (_CARD_HEAD_INCHES + down * (_CARD_TILE_INCHES + 0.32)) / _CARD_INCHES[1]
        axes = figure.add_axes(((1 - 2 * width) / 3 * (1 + across) + across * width, bottom, width, height))
        _show(axes, image, right=True)
        axes.set_title(plain(name, _CARD_CHARACTERS), fontsize=17)
    return finish(figure)


def _short(layer: "Layer") -> str:
    name = layer.name.split(":")[0].removeprefix("attribution ")
    return name if layer.end is None else f"{name}, ±{layer.end:.2g} nats"


def _layers(views: Sequence[AttributedView], overlay: "Overlay", sigma: float) -> tuple[list[str], list["Layer"]]:
    """Names of the views that can be drawn, and their layers."""
    finite = {view.name: (view.image, view.attribution) for view in views if view.finite}
    maps = [attribution for _, attribution in finite.values() if attribution is not None]
    return list(finite), overlay.layers([image for image, _ in finite.values()], maps, sigma)


def _lines(view: AttributedView) -> list[str]:
    lines = [view.name, f"{mark(view.right)} predicted: {view.predicted}", f"score {view.score:.4f}"]
    if view.total is None:
        return lines
    lines.append(f"sum {view.total:+.4f} nats")
    if view.finite:
        lines.append("raised {:+.2f}, lowered {:+.2f}".format(*view.sides))
    return lines


def _emphasis(view: AttributedView) -> dict[str, Any]:
    return {} if view.right else {"color": mark_colour(right=False), "fontweight": "bold"}


def _show(axes: Any, image: npt.NDArray[np.uint8], right: bool) -> None:
    """An image, in a thick frame where the prediction is wrong."""
    axes.imshow(image.transpose(1, 2, 0))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=not right, color=mark_colour(right=False), linewidth=4)


def _colour_bar(figure: "Figure", axes: Any, end: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(-end, end), signed_colours("0.2"))
    beside = axes.inset_axes((1.08, 0.05, 0.07, 0.9))  # not a neighbour, which would take the columns out of line
    figure.colorbar(scale, cax=beside, extend="both", label="nats per pixel")


def _write(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, transform=axes.transAxes)
