"""Explaining the chosen images of a run, shared among its processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.attribution.explainer import Explained, Explainer
from bench.attribution.explanations import Explanation
from bench.attribution.overlay import Overlay, smoothing
from bench.attribution.report import AttributionReport
from bench.figures.attributions import AttributedView, attribution_cards, attribution_picture
from bench.figures.style import to_pixels
from bench.outcomes import Outcomes
from bench.runs.gathering import gather
from datamodules.dataset import DegradedViews
from datamodules.views import Batch


@dataclass(frozen=True)
class _Piece:
    """What one image adds to the report: it travels from the process that made it to the first one."""

    explanation: Explanation
    figure: npt.NDArray[np.uint8] | None
    cards: dict[str, npt.NDArray[np.uint8]]
    arrays: dict[str, npt.NDArray[Any]] | None


@dataclass(frozen=True)
class Share:
    """One process's share of the work.

    Attributes:
        explainer: Explains a batch.
        views_of: The images at positions in the source, with their views.
        device: The explainer's.
        class_names: By label.
        overlay: How attributions are drawn.
        drawn: Positions of the images to draw.
        cards: Whether a card is drawn for each of their views.
        save_maps: Whether arrays are written.
        at_once: Images per batch.
        rank: Number of this process.
        processes: How many there are.
    """

    explainer: Explainer
    views_of: Callable[[Sequence[int]], DegradedViews]
    device: torch.device
    class_names: Sequence[str]
    overlay: Overlay
    drawn: frozenset[int]
    cards: bool
    save_maps: bool
    at_once: int
    rank: int
    processes: int

    def explain(
        self, chosen: Sequence[int], outcomes: dict[str, Outcomes], report: AttributionReport
    ) -> Iterator[Explanation]:
        """On the first process the explanations of all, whose pictures and maps it writes; nothing on the others.

        Every process must use it up, since each batch ends in a gathering.
        """
        own = chosen[self.rank :: self.processes]
        longest = len(chosen[:: self.processes])  # every process takes part in every gathering
        for start in range(0, longest, self.at_once):
            indices = own[start : start + self.at_once]
            explained = self.explainer.explain(self._batch(indices), outcomes) if indices else []
            for piece in (piece for part in gather([self._piece(one) for one in explained]) for piece in part):
                if piece.figure is not None:
                    report.add_figure(piece.explanation.index, piece.figure, piece.cards)
                if piece.arrays is not None:
                    report.add_maps(piece.explanation.index, piece.arrays)
                yield piece.explanation

    def _batch(self, indices: Sequence[int]) -> Batch:
        views = self.views_of(indices)
        return views.collate(list(views.samples())).to(self.device)

    def _piece(self, one: Explained) -> _Piece:
        figure, arrays, names = None, None, self.class_names
        cards: dict[str, npt.NDArray[np.uint8]] = {}
        if one.explanation.index in self.drawn:
            title, columns = f"image {one.explanation.index}", _columns(one, names)
            size = columns[0].image.shape[-1]
            how = self.overlay, self.explainer.baseline, smoothing(size, self.explainer.patch_period)
            whole = f"{title}, true class: {names[one.explanation.label]}"
            figure = to_pixels(attribution_picture(whole, columns, *how))
            if self.cards:
                cards = {view: to_pixels(card) for view, card in attribution_cards(title, columns, *how)}
        if self.save_maps:
            arrays = {
                "views": np.array(list(one.images)),
                "images": np.stack(list(one.images.values())),
                "targets": np.array(list(one.attributions)),
                "attributions": np.stack(list(one.attributions.values())),
            } | _arrays(one.explanation)
        return _Piece(one.explanation, figure, cards, arrays)


def _arrays(explanation: Explanation) -> dict[str, npt.NDArray[Any]]:
    """Nats by frequency and by block, as far as a view has them; see `callbacks.IntegratedGradients`."""
    found = {view: numbers.spectrum for view, numbers in explanation.views.items() if numbers.spectrum is not None}
    by_frequency = {f"frequencies/{view}": spectrum.frequencies for view, spectrum in found.items()}
    return by_frequency | {f"blocks/{view}": spectrum.blocks for view, spectrum in found.items()}


def _columns(one: Explained, class_names: Sequence[str]) -> list[AttributedView]:
    found = one.explanation
    return [
        AttributedView(
            name=view,
            image=image,
            predicted=class_names[found.predictions[view]],
            right=found.predictions[view] == found.label,
            score=found.scores[view],
            total=found.views[view].total if view in found.views else None,
            attribution=one.attributions.get(view),
        )
        for view, image in one.images.items()
    ]
