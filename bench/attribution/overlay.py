"""How attribution maps are drawn over their images: what every recipe has, and the default one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.attribution.coefficients import LUMA
from datamodules.errors import UserError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

RAISED: tuple[int, int, int] = (255, 105, 0)
"""Orange, as bright as the blue of `LOWERED` (relative luminance 0.31); the colour-blind can tell the two apart."""
LOWERED: tuple[int, int, int] = (0, 156, 255)
"""Blue. Red minus blue is -255 here and +255 there, so that a picture's colours can be added up from its pixels."""

_WIDEST_BLUR = 14  # of the side: half a patch of ViT-B/32 at 224 pixels
_UNKNOWN_BLUR = 28  # half a patch of ViT-B/16
_WIDER = 1.25


@dataclass(frozen=True)
class Layer:
    """One way to look at an image's maps, a row of its picture.

    Attributes:
        name: Of the row.
        meaning: What its colours mean.
        pictures: uint8 [3, H, W] by map, in their order.
        end: Where the scale of the colours ends on both sides of 0, in nats per pixel; None where pictures share none.
    """

    name: str
    meaning: str
    pictures: tuple[Pixels, ...]
    end: float | None = None


class Overlay(ABC):
    """A recipe for drawing attributions."""

    @abstractmethod
    def layers(
        self, images: Sequence[Pixels], attributions: Sequence[npt.NDArray[np.floating]], sigma: float
    ) -> list[Layer]:
        """Draw the maps of all views of an image.

        Args:
            images: uint8 [3, H, W] by view.
            attributions: float [3, H, W] by view in nats, positive where compression raised the loss.
            sigma: Of the Gaussian of a smoothed map, in pixels.

        Raises:
            ValueError: shapes or types that do not fit, or an attribution that is not finite.
        """

    @abstractmethod
    def draw(self, image: Pixels, attribution: npt.NDArray[np.floating]) -> Pixels:
        """One map alone over its image, uint8 [3, H, W]; arguments are those of `layers`."""

    @abstractmethod
    def legend(self) -> str:
        """One line that says what the colours mean."""

    @abstractmethod
    def caption(self) -> str:
        """Sentences on what can be read off a picture and what cannot."""


@dataclass(frozen=True)
class SignedOverlay(Overlay):
    """One signed, symmetric scale for all views of an image, over the image in dimmed grey.

    A pixel's attribution is the sum over its colour channels, v. It is drawn as `(1 - a) * grey + a * colour` with
    `a = min(|v| / end, 1)`: orange where compression raised the loss, blue where it lowered it, equally bright, so that
    the colour that prevails is that of the sum. Strengths can be compared within a picture: between colours and views.

    Attributes:
        mass: share in (0, 1] of the mass of all views, sum of |v|, that the strongest pixels hold; `end` is the weakest
            of those, see `shared_end`.
        grey: brightness in [0, 1] of the image beneath.
    """

    mass: float = 0.01
    grey: float = 0.45

    def __post_init__(self) -> None:
        require_share("SignedOverlay", self.mass)
        if not 0 <= self.grey <= 1:
            raise UserError(f"SignedOverlay(grey={self.grey}): a brightness; give a number from 0 to 1")

    def layers(
        self, images: Sequence[Pixels], attributions: Sequence[npt.NDArray[np.floating]], sigma: float
    ) -> list[Layer]:
        from scipy.ndimage import gaussian_filter  # takes a moment

        for image, attribution in zip(images, attributions, strict=True):
            require_map(image, attribution)
        signed = [attribution.astype(np.float64).sum(axis=0) for attribution in attributions]
        # of a map that is mirrored at its edges the filter keeps the sum
        smoothed = [gaussian_filter(one, sigma, mode="reflect") for one in signed]
        return [
            self._layer("attribution per pixel", images, signed),
            self._layer(f"smoothed: Gaussian, sigma {sigma:.3g} pixels", images, smoothed),
        ]

    def draw(self, image: Pixels, attribution: npt.NDArray[np.floating]) -> Pixels:
        return self.layers([image], [attribution], 0)[0].pictures[0]

    def legend(self) -> str:
        """One line that says what the colours mean.

        >>> SignedOverlay().legend()
        'orange: compression raised the loss; blue: compression lowered the loss'
        """
        return "orange: compression raised the loss; blue: compression lowered the loss"

    def caption(self) -> str:
        return (
            "A row has one scale for all views and both colours. It ends where the strongest pixels of the row hold "
            f"{self.mass:.0%} of its mass, or later where a view's colours would else sum to the other sign."
        )

    def _layer(self, name: str, images: Sequence[Pixels], maps: Sequence[Floats]) -> Layer:
        end = shared_end(maps, self.mass)
        pictures = tuple(self._paint(image, one, end) for image, one in zip(images, maps, strict=True))
        return Layer(name, self.legend(), pictures, end)

    def _paint(self, image: Pixels, signed: Floats, end: float) -> Pixels:
        grey = np.rint(self.grey * np.tensordot(LUMA, image, 1))
        share = np.minimum(np.abs(signed) / end, 1) if end > 0 else np.zeros_like(signed)
        colour = np.where(signed > 0, *(np.array(ends)[:, None, None] for ends in (RAISED, LOWERED)))
        painted: Pixels = np.rint((1 - share) * grey + share * colour).astype(np.uint8)
        return painted


def shared_end(maps: Sequence[Floats], mass: float = 0.01) -> float:
    """Where the scale of several maps ends: what lies beyond it, on either side, is drawn as strong as the end.

    It is `threshold` of all pixels of all maps. Cutting off could still give a map the other sign, since a few strong
    pixels may outweigh many weak ones; then the end moves outwards until every map keeps the sign of its sum, at the
    latest at the strongest pixel, where nothing is cut off.

    Args:
        maps: Signed, float [H, W] each.
        mass: Share in (0, 1].

    Returns:
        0 where all are 0.

    >>> shared_end([np.array([[5.0, 3.0], [1.0, 1.0]])], 0.8), shared_end([np.array([[4.0, -1.0], [-1.0, -1.0]])], 1.0)
    (3.0, 3.0517578125)
    """
    if not maps:
        return 0.0
    strongest = max(float(np.abs(one).max()) for one in maps)
    end = threshold(np.abs(np.stack(maps)), mass)
    while end < strongest and not all(_keeps_sign(one, end) for one in maps):
        end = min(end * _WIDER, strongest)
    return end


def _keeps_sign(signed: Floats, end: float) -> bool:
    return bool(np.sign(signed.clip(-end, end).sum()) == np.sign(signed.sum()))


def threshold(side: Floats, mass: float = 0.01) -> float:
    """The value at which the largest values have accumulated `mass` of the total.

    Args:
        side: float of any shape, at least 0.
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


def smoothing(image_size: int, patch_period: float | None) -> float:
    """The sigma in pixels of the Gaussian that turns the specks of a map into regions.

    Half a patch of a ViT, half the total stride of a ResNet, but no more than 1/14 of the input's side, which is half a
    patch of ViT-B/32; 1/28 of the side where the period is not known.

    Args:
        image_size: Side of the encoder's input in pixels.
        patch_period: See `bench.clip.towers.patch_period`.

    >>> smoothing(224, 32), smoothing(224, 16), smoothing(64, 32), smoothing(224, None)
    (16.0, 8.0, 4.571428571428571, 8.0)
    """
    return image_size / _UNKNOWN_BLUR if patch_period is None else min(patch_period / 2, image_size / _WIDEST_BLUR)


def require_map(image: Pixels, attribution: npt.NDArray[np.floating]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        ValueError: shapes or types that do not fit, or an attribution that is not finite.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3 or image.shape != attribution.shape:
        given = f"image {image.dtype} {image.shape} and attribution {attribution.shape}"
        raise ValueError(f"{given}: need uint8 [3, H, W] and float [3, H, W]")
    if not np.isfinite(attribution).all():
        raise ValueError("attribution has infinite or undefined values")


def require_share(owner: str, mass: float) -> None:
    """Refuse a share that is none.

    Raises:
        UserError: It is not in (0, 1].
    """
    if not 0 < mass <= 1:
        raise UserError(f"{owner}(mass={mass}): a share of the total; give a number above 0, at most 1")
