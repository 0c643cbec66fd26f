"""Which images of a run are explained: decided from the outcomes of the whole run, whatever the number of processes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.outcomes import Outcomes
from datamodules.degradations import ORIGINAL, framing, parse
from datamodules.errors import UserError


class Selection(ABC):
    """A rule that picks images."""

    view: str | None = None

    @abstractmethod
    def choose(self, outcomes: Mapping[str, Outcomes], baseline: str) -> list[int]:
        """Positions in the source of the images picked, the most wanted first.

        Args:
            outcomes: By view, of the whole run; every view has the same images, sorted by index.
            baseline: The view that the others are compared with.
        """


def _require_positive(rule: str, n: int) -> None:
    if n < 1:
        raise UserError(f"{rule}(n={n}): n counts images; give at least 1")


@dataclass(frozen=True)
class Indices(Selection):
    """These images, in this order; those that the run has not seen are left out.

    Attributes:
        indices: Positions in the split, at least one.
    """

    indices: Sequence[int]

    def __post_init__(self) -> None:
        if not self.indices:
            raise UserError("Indices(indices=[]): list at least one position")
        if len(set(self.indices)) != len(self.indices):
            raise UserError(f"Indices(indices={list(self.indices)}): list each position once")

    def choose(self, outcomes: Mapping[str, Outcomes], baseline: str) -> list[int]:
        seen = set(outcomes[baseline].index.tolist())
        return [index for index in self.indices if index in seen]


@dataclass(frozen=True)
class First(Selection):
    """The n images with the lowest index."""

    n: int = 8

    def __post_init__(self) -> None:
        _require_positive("First", self.n)

    def choose(self, outcomes: Mapping[str, Outcomes], baseline: str) -> list[int]:
        indices: list[int] = outcomes[baseline].index[: self.n].tolist()
        return indices


@dataclass(frozen=True)
class PerClass(Selection):
    """Of each class the n images with the lowest index, class after class."""

    n: int = 1

    def __post_init__(self) -> None:
        _require_positive("PerClass", self.n)

    def choose(self, outcomes: Mapping[str, Outcomes], baseline: str) -> list[int]:
        rows = outcomes[baseline]
        labels = sorted(set(rows.label.tolist()))
        return [index for label in labels for index in rows.index[rows.label == label][: self.n].tolist()]


@dataclass(frozen=True)
class LargestLossIncrease(Selection):
    """The n images whose loss rose most from the baseline; only those whose loss rose at all.

    Attributes:
        n: Number of images.
        view: Where the rise is measured; None takes the view with the largest one, image by image.
    """

    n: int = 8
    view: str | None = None

    def __post_init__(self) -> None:
        _require_positive("LargestLossIncrease", self.n)

    def choose(self, outcomes: Mapping[str, Outcomes], baseline: str) -> list[int]:
        before = outcomes[baseline]
        rise = torch.stack([rows.loss - before.loss for rows in _compared(outcomes, baseline, self.view)]).amax(0)
        order = rise.argsort(descending=True, stable=True)  # equal rises stay in the order of the indices
        order = order[rise[order] > 0]
        indices: list[int] = before.index[order[: self.n]].tolist()
        return indices


@dataclass(frozen=True)
class Flipped(Selection):
    """The n images with the lowest index whose predicted class is not that of the baseline.

    Attributes:
        n: Number of images.
        view: Where the prediction changed; None takes any view.
    """

    n: int = 8
    view: str | None = None

    def __post_init__(self) -> None:
        _require_positive("Flipped", self.n)

    def choose(self, outcomes: Mapping[str, Outcomes], baseline: str) -> list[int]:
        before = outcomes[baseline]
        views = _compared(outcomes, baseline, self.view)
        flipped: Tensor = torch.stack([rows.prediction != before.prediction for rows in views]).any(0)
        indices: list[int] = before.index[flipped][: self.n].tolist()
        return indices


def require_comparable(selection: Selection, baseline: str, views: Sequence[str], positions: Sequence[int]) -> None:
    """Refuse what a run cannot explain.

    Args:
        selection: What chooses images.
        baseline: The view where the paths start.
        views: The run's.
        positions: In the source, of the run's images.

    Raises:
        UserError: A view or an image is not part of the run, or there is nothing to compare.
    """
    for name in (baseline, selection.view):
        if name is not None and name not in views:
            raise UserError(
                f"IntegratedGradients: {name!r} is not a view of this run: choose one of {', '.join(views)}, "
                "or add it to --data.degradations"
            )
    if selection.view == baseline:
        raise UserError(
            f"IntegratedGradients chooses images by view {baseline!r}, which is its baseline: choose another view"
        )
    if set(views) <= {ORIGINAL, baseline}:
        raise UserError(
            f"IntegratedGradients has nothing to compare with {baseline!r}: add a view to --data.degradations"
        )
    frames = {view: framing(parse(view)) for view in views if view not in (ORIGINAL, baseline)}
    otherwise = [view for view, frame in frames.items() if frame != framing(parse(baseline))]
    if otherwise:
        raise UserError(
            f"IntegratedGradients: {otherwise[0]!r} shows another part of the image than its baseline {baseline!r}, so "
            "that no pixel has a path: choose a baseline with the same crop, or leave the view out"
        )
    if isinstance(selection, Indices):
        seen = set(positions)
        for index in selection.indices:
            if index not in seen:
                raise UserError(f"IntegratedGradients: image {index} is not part of this run: choose another index")


def _compared(outcomes: Mapping[str, Outcomes], baseline: str, view: str | None) -> list[Outcomes]:
    """What the baseline is compared with: one view, or every degraded one."""
    return [rows for name, rows in outcomes.items() if (name == view if view else name not in (ORIGINAL, baseline))]
