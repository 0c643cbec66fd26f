"""Corruptions that are not made here but read from published arrays: CIFAR-10-C and CIFAR-100-C."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar, Self

from PIL import Image

from datamodules.degradations.base import Setting, malformed
from datamodules.degradations.formats import Degraded, FileFormat
from datamodules.errors import UserError

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise",
    "gaussian_blur", "spatter", "saturate",
)  # fmt: skip
"""Names of the arrays of Hendrycks and Dietterich (2019): the fifteen of the benchmark and four for validation."""

SEVERITIES = 5


@dataclass(frozen=True)
class PublishedCorruption:
    """A corrupted image as it was published beside its clean one; only data sets that have the arrays can show it.

    Args:
        corruption: One of `CORRUPTIONS`.
        severity: 1 (least) to 5.

    >>> PublishedCorruption.from_spec("published-gaussian-noise-3").name
    'published-gaussian-noise-3'
    """

    corruption: str
    severity: int
    head: ClassVar[str] = "published"
    formats: ClassVar[tuple[FileFormat, ...]] = ()
    size_factor: ClassVar[float | None] = 1.0
    block_period: ClassVar[float | None] = None

    @classmethod
    def form(cls) -> str:
        return "published-CORRUPTION-SEVERITY"

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read published-CORRUPTION-SEVERITY, with hyphens between the corruption's words.

        Raises:
            UserError: It is malformed, or there is no such corruption or severity.
        """
        written = re.fullmatch("published-([a-z-]*[a-z])-([0-9]+)", spec)
        if written is None:
            raise malformed(spec, cls.form())
        words, severity = written[1], int(written[2])
        names = [name.replace("_", "-") for name in CORRUPTIONS]
        if words not in names:
            near = get_close_matches(words, names, 1)
            hint = f"did you mean published-{near[0]}-{severity}?" if near else f"choose one of {', '.join(names)}"
            raise UserError(f"degradation {spec!r}: no corruption {words!r} was published: {hint}")
        if not 1 <= severity <= SEVERITIES:
            raise UserError(f"degradation {spec!r}: severity {severity} is out of range, choose 1 to {SEVERITIES}")
        return cls(words.replace("-", "_"), severity)

    @property
    def name(self) -> str:
        return f"{self._curve}-{self.severity}"

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (Setting("severity", self.severity, self._curve),)

    @property
    def _curve(self) -> str:
        return f"{self.head}-{self.corruption.replace('_', '-')}"

    def __call__(self, image: Image.Image) -> Degraded:
        """Refuse an image by itself: which of the published ones belongs to it, its pixels do not say.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f"view {self.name!r} is published for CIFAR-10 and CIFAR-100 only: take one of these with `corrupted`",
            option="data.corrupted",
        )
