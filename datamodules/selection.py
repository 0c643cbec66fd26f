"""Which images of a split are used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datamodules.errors import UserError


@dataclass(frozen=True)
class Selection:
    """A part of a split.

    Attributes:
        limit: At most so many images, after the other choice; None takes all.
        every: Every n-th image.
        indices: These positions, in this order; None leaves it to `every`.

    Raises:
        UserError: A number is out of range, positions are repeated, or both choices are made.

    >>> list(Selection(every=3, limit=2).of(10)), list(Selection(indices=[7, 2]).of(10))
    ([0, 3], [7, 2])
    """

    limit: int | None = None
    every: int = 1
    indices: Sequence[int] | None = None

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit, every=self.every)
        if self.indices is None:
            return
        if self.every != 1:
            raise UserError(
                "`every` and `indices` exclude each other: leave one of them out", option=("data.every", "data.indices")
            )
        if not self.indices:
            raise UserError("`indices` is empty: list at least one position", option="data.indices")
        if len(set(self.indices)) != len(self.indices):
            repeated = next(index for index in self.indices if self.indices.count(index) > 1)
            raise UserError(f"`indices` lists {repeated} twice: list each position once", option="data.indices")

    def of(self, count: int) -> Sequence[int]:
        """The chosen positions of a split of so many images, in order.

        Raises:
            UserError: A position lies outside the split.
        """
        for index in self.indices or ():
            if not 0 <= index < count:
                raise UserError(
                    f"`indices` has {index}, but the split holds images 0 to {count - 1}", option="data.indices"
                )
        chosen = range(0, count, self.every) if self.indices is None else self.indices
        return chosen[: self.limit]

    def describe(self) -> dict[str, Any]:
        """What a record says about the choice of images, JSON-able."""
        indices = None if self.indices is None else list(self.indices)
        return {"limit": self.limit, "every": self.every, "indices": indices}


def shuffled(positions: Sequence[int], seed: int) -> Sequence[int]:
    """The positions in a random order that a seed stands for.

    >>> sorted(shuffled(range(4), 1)), shuffled(range(4), 1) == shuffled(range(4), 1)
    ([0, 1, 2, 3], True)
    """
    return [positions[place] for place in np.random.default_rng(seed).permutation(len(positions)).tolist()]


def require_at_least(least: int, **values: float | None) -> None:
    """Check options of the data by name; None stands for a choice that is left to the program.

    Raises:
        UserError: A value is less than `least`, or no number.
    """
    for name, value in values.items():
        if value is not None and not value >= least:
            raise UserError(f"`{name}` {value} is out of range: choose at least {least}", option=f"data.{name}")
