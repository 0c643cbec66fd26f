"""Attribution maps drawn as Chen, Namboodiri and Padget (2023) draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from bench.attribution.overlay import Floats, Layer, Overlay, Pixels, require_map, require_share, threshold
from datamodules.errors import UserError

Polarity = Literal["negative", "positive", "both"]
"""Which sign of the attribution is drawn. Negative: compression lowered the loss there. Positive: raised it."""

POLARITIES: tuple[Polarity, ...] = get_args(Polarity)

Colour = Literal["red", "green", "blue"]
_CHANNELS: dict[Colour, int] = {"red": 0, "green": 1, "blue": 2}


@dataclass(frozen=True)
class PaperOverlay(Overlay):
    """The recipe of Chen, Namboodiri and Padget (2023): `0.7 * image + 1.5 * attribution`.

    Each sign of each view has a scale of its own, so that a picture may look the opposite of its sum: brightness can be
    compared neither between colours nor between views. `SignedOverlay` is the default for that reason.

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
                raise UserError(f"PaperOverlay({name}={getattr(self, name)}): give a weight of at least 0")
        require_share("PaperOverlay", self.mass)
        for name in ("raised", "lowered"):
            if getattr(self, name) not in _CHANNELS:
                raise UserError(f"PaperOverlay({name}={getattr(self, name)!r}): choose red, green or blue")
        if self.raised == self.lowered:
            raise UserError(
                f"PaperOverlay(raised={self.raised!r}, lowered={self.lowered!r}): give two different colours"
            )

    def layers(
        self, images: Sequence[Pixels], attributions: Sequence[npt.NDArray[np.floating]], sigma: float
    ) -> list[Layer]:
        """A layer per polarity; nothing is smoothed."""
        return [
            Layer(
                polarity,
                self.legend(polarity),
                tuple(self.draw(*pair, polarity) for pair in zip(images, attributions, strict=True)),
            )
            for polarity in POLARITIES
        ]

    def draw(self, image: Pixels, attribution: npt.NDArray[np.floating], polarity: Polarity = "both") -> Pixels:
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
        require_map(image, attribution)
        drawn = np.zeros(image.shape)
        for colour, side in self._sides(attribution.astype(np.float64), polarity):
            drawn[_CHANNELS[colour]] = 255 * brightness(side, self.mass)
        mixed = (self.image_weight * image + self.attribution_weight * drawn).clip(0, 255)
        rounded: Pixels = np.rint(mixed).astype(np.uint8)
        return rounded

    def legend(self, polarity: Polarity = "both") -> str:
        """One line that says what the colours mean.

        >>> PaperOverlay().legend("positive")
        'red: compression raised the loss'
        """
        lines = {
            "positive": f"{self.raised}: compression raised the loss",
            "negative": f"{self.lowered}: compression lowered the loss",
        }
        return "; ".join(lines.values()) if polarity == "both" else lines[polarity]

    def caption(self) -> str:
        return (
            "The paper's recipe: each colour of each view has a scale of its own, so that brightness cannot be "
            "compared between colours or columns."
        )

    def _sides(self, attribution: Floats, polarity: Polarity) -> list[tuple[Colour, Floats]]:
        sides: list[tuple[Colour, Floats]] = []
        if polarity != "negative":
            sides.append((self.raised, attribution.clip(min=0).mean(axis=0)))
        if polarity != "positive":
            sides.append((self.lowered, (-attribution).clip(min=0).mean(axis=0)))
        return sides


def brightness(side: Floats, mass: float = 0.01) -> Floats:
    """Linear from 0 at value 0 to 1 at `threshold(side, mass)`, clipped there; all 0 where `side` is.

    The authors' code starts at the smallest value instead, which is 0 wherever a side leaves one pixel untouched.
    """
    top = threshold(side, mass)
    return np.minimum(side / top, 1.0) if top > 0 else np.zeros_like(side)
