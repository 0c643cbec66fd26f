"""Proportions of images and their intervals, from counts alone."""

import math
from dataclasses import dataclass

from scipy.special import ndtri

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included; an end that is not known is NaN."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Estimate:
    """A value and its interval."""

    value: float
    interval: Interval

    def columns(self, name: str) -> dict[str, float]:
        """The value and both ends as columns of a table.

        >>> Estimate(0.5, Interval(0.4, 0.7)).columns("drop")
        {'drop': 0.5, 'drop_low': 0.4, 'drop_high': 0.7}
        """
        return {name: self.value, f"{name}_low": self.interval.low, f"{name}_high": self.interval.high}

    def scaled(self, factor: float) -> "Estimate":
        """The interval in a smaller unit, of which a positive number makes one of this.

        >>> Estimate(0.5, Interval(0.25, 0.75)).scaled(100)
        Estimate(value=50.0, interval=Interval(low=25.0, high=75.0))
        """
        return Estimate(factor * self.value, Interval(factor * self.interval.low, factor * self.interval.high))


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's (1927) score interval of a proportion, in [0, 1]; `n` is at least 1.

    >>> wilson(0, 10)
    Interval(low=0.0, high=0.27753279986288...)
    """
    z = float(ndtri(0.5 + level / 2))
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Interval(middle - half if successes else 0.0, middle + half if successes < n else 1.0)


def relative_drop(before: float, after: float, classes: int) -> float:
    """Share lost of what the original had over guessing: (before - after) / (before - 1 / C); NaN where it had nothing.

    >>> relative_drop(0.9, 0.5, 10)
    0.5
    """
    advantage = before - 1 / classes
    return (before - after) / advantage if advantage > 0 else float("nan")
