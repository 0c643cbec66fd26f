"""Attribution maps drawn over their image: red where compression raised the loss, green where it lowered it."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from datamodules.errors import UserError

Polarity = Literal["negative", "positive", "both"]
"""Which sign of the attribution is drawn. Negative: compression lowered the loss there. Positive: raised it."""

POLARITIES: tuple[Polarity, ...] = get_args(Polarity)

Colour = Literal["red", "green", "blue"]
_CHANNELS: dict[Colour, int] = {"red": 0, "green": 1, "blue": 2}


@dataclass(frozen=True)
class Overlay:
    """The recipe of Chen, Namboodiri and Padget (2023): `0.7 * image + 1.5 * attribution`.

    Attributes:
        image_weight: at least 0.
        attribution_weight: at least 0.
        mass: share in (0, 1] of a side's total that its strongest pixels hold; the weakest of those is drawn at full
            brightness, and so is everything above.
        raised: colour where compression raised the loss (positive attribution).
        lowered: colour where it lowered the loss. The authors' released code has `raised="green", lowered="red"`, the
            opposite of their text.
    """

    image_weight: float = 0.7
    attribution_weight: float = 1.5
    mass: float = 0.01
    raised: Colour = "red"
    lowered: Colour = "green"

    def __post_init__(self) -> None:
        for name in ("image_weight", "attribution_weight"):
            if not getattr(self, name) >= 0:
                raise UserError(f"Overlay({name}={getattr(self, name)}): give a weight of at least 0")
        if not 0 < self.mass <= 1:
            raise UserError(f"Overlay(mass={self.mass}): a share of the total; give a number above 0, at most 1")
        for name in ("raised", "lowered"):
            if getattr(self, name) not in _CHANNELS:
                raise UserError(f"Overlay({name}={getattr(self, name)!r}): choose red, green or blue")
        if self.raised == self.lowered:
            raise UserError(f"Overlay(raised={self.raised!r}, lowered={self.lowered!r}): give two different colours")

    def draw(
        self, image: npt.NDArray[np.uint8], attribution: npt.NDArray[np.floating], polarity: Polarity = "both"
    ) -> npt.NDArray[np.uint8]:
        """The image with one or both sides of its attribution.

        Args:
            image: uint8 [3, H, W].
            attribution: float [3, H, W], positive where compression raised the loss. All zero is drawn as the image
                at its weight, and so is a side that has no pixels.
            polarity: which side to draw; "both" adds the two.

        Returns:
            uint8 [3, H, W], `clip(image_weight * image + attribution_weight * colour, 0, 255)`, rounded to nearest.

        Raises:
            ValueError: shapes or types that do not fit, or an attribution that is not finite.
        """
        if polarity not in POLARITIES:
            raise UserError(f"polarity {polarity!r}: choose {', '.join(POLARITIES)}")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3 or image.shape != attribution.shape:
            given = f"image {image.dtype} {image.shape} and attribution {attribution.shape}"
            raise ValueError(f"{given}: need uint8 [3, H, W] and float [3, H, W]")
        if not np.isfinite(attribution).all():
            raise ValueError("attribution has infinite or undefined values")
        drawn = np.zeros(image.shape)
        for colour, side in self._sides(attribution.astype(np.float64), polarity):
            drawn[_CHANNELS[colour]] = 255 * brightness(side, self.mass)
        mixed = (self.image_weight * image + self.attribution_weight * drawn).clip(0, 255)
        rounded: npt.NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
        return rounded

    def legend(self, polarity: Polarity = "both") -> str:
        """One line that says what the colours mean.

        >>> Overlay().legend("positive")
        'red: compression raised the loss'
        """
        lines = {
            "positive": f"{self.raised}: compression raised the loss",
            "negative": f"{self.lowered}: compression lowered the loss",
        }
        return "; ".join(lines.values()) if polarity == "both" else lines[polarity]

    def _sides(
        self, attribution: npt.NDArray[np.float64], polarity: Polarity
    ) -> list[tuple[Colour, npt.NDArray[np.float64]]]:
        sides: list[tuple[Colour, npt.NDArray[np.float64]]] = []
        if polarity != "negative":
            sides.append((self.raised, attribution.clip(min=0).mean(axis=0)))
        if polarity != "positive":
            sides.append((self.lowered, (-attribution).clip(min=0).mean(axis=0)))
        return sides


def threshold(side: npt.NDArray[np.float64], mass: float = 0.01) -> float:
    """The value at which the largest values have accumulated `mass` of the total.

    Args:
        side: float [H, W], at least 0.
        mass: share in (0, 1].

    Returns:
        One of the values of `side`; 0 where all are 0.

    >>> threshold(np.array([[50.0, 30.0], [15.0, 5.0]]), mass=0.8)
    30.0
    """
    descending = np.sort(side, axis=None)[::-1]
    accumulated = np.cumsum(descending)
    reached = int(np.searchsorted(accumulated, mass * accumulated[-1]))
    return float(descending[min(reached, descending.size - 1)])


def brightness(side: npt.NDArray[np.float64], mass: float = 0.01) -> npt.NDArray[np.float64]:
    """Linear from 0 at value 0 to 1 at `threshold(side, mass)`, clipped there; all 0 where `side` is.

    The authors' code starts at the smallest value instead, which is 0 wherever a side leaves one pixel untouched.
    """
    top = threshold(side, mass)
    return np.minimum(side / top, 1.0) if top > 0 else np.zeros_like(side)
