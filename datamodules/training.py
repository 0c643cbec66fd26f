"""Each training image together with itself degraded at random: a draw that seed, epoch and image decide alone."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DistributedSampler

from datamodules.dataset import DegradedViews
from datamodules.degradations import ORIGINAL, Degradation, Degraded, Original, parse, parse_all, table_hashes
from datamodules.errors import UserError
from datamodules.geometry import Geometry
from datamodules.sources import Source
from datamodules.views import Draw, Sample, Unreadable

RANDOM = "random"
"""Name of the view that is degraded at random."""

_HOLE = "{}"


class Law(ABC):
    """How a quality is drawn from a range."""

    @abstractmethod
    def quality(self, lowest: int, highest: int, share: float) -> int:
        """The quality below which the law has `share` of its mass, `share` in [0, 1)."""


@dataclass(frozen=True)
class Uniform(Law):
    """Every quality of the range is as likely as any other.

    >>> [Uniform().quality(10, 12, share) for share in (0, 0.34, 0.99)]
    [10, 11, 12]
    """

    def quality(self, lowest: int, highest: int, share: float) -> int:
        return lowest + math.floor(share * (highest + 1 - lowest))


@dataclass(frozen=True)
class LogUniform(Law):
    """Every octave of the range is as likely as any other, so that low qualities are drawn more often; at least 1.

    >>> [LogUniform().quality(1, 99, share) for share in (0, 0.5, 0.99)]
    [1, 10, 95]
    """

    def quality(self, lowest: int, highest: int, share: float) -> int:
        return math.floor(lowest * math.exp(share * math.log((highest + 1) / lowest)))


@dataclass(frozen=True)
class TrainingViews:
    """What the random view of a training image is drawn from.

    Attributes:
        codecs: Degradations with `{}` for the quality, and the lowest and highest quality of each, both included; each
            codec is as likely as any other: `{"jpeg-{}": [10, 95]}`.
        law: How a quality is drawn from its range.
        clean: Share of random views that are the original, in [0, 1]. At 1 nothing is ever degraded, which is the
            clean-only control of a configuration.
        flip: Share of images that are mirrored left to right before anything else, original and random view alike.
        curriculum: Number of epochs in which the ranges grow in equal steps, from their best qualities to all of them
            (Bengio et al., 2009, doi 10.1145/1553374.1553380); 0 is none.

    Raises:
        UserError: A codec is unknown, or a number out of range.
    """

    codecs: Mapping[str, Sequence[int]]
    law: Law = Uniform()
    clean: float = 0.0
    flip: float = 0.0
    curriculum: int = 0

    def __post_init__(self) -> None:
        here = "data.training_views"
        if not self.codecs:
            raise UserError('`codecs` is empty: give one such as {"jpeg-{}": [10, 95]}', option=f"{here}.codecs")
        for codec, bounds in self.codecs.items():
            if codec.count(_HOLE) != 1:
                raise UserError(f"`codecs`: {codec!r} needs exactly one {{}} for the quality", option=f"{here}.codecs")
            if len(bounds) != 2 or bounds[0] > bounds[1] or (bounds[0] < 1 and isinstance(self.law, LogUniform)):
                raise UserError(
                    f"`codecs`: {list(bounds)} is no range for {codec}: give the lowest and the highest quality",
                    option=f"{here}.codecs",
                )
            for bound in bounds:
                parse(codec.replace(_HOLE, str(bound)))
        for name, share in [("clean", self.clean), ("flip", self.flip)]:
            if not 0 <= share <= 1:
                raise UserError(
                    f"`{name}` {share} is out of range: choose a share from 0 to 1",
                    option=f"{here}.{name}",
                )
        if self.curriculum < 0:
            raise UserError(
                f"`curriculum` {self.curriculum} is out of range: choose a number of epochs, or 0 for none",
                option=f"{here}.curriculum",
            )

    def require(self) -> None:
        """See to it that what may be drawn can be made here.

        Raises:
            UserError: A codec is not installed, or JPEG tables are not known or lack a scale of the range.
        """
        for codec, (lowest, highest) in self.codecs.items():
            ends = parse_all(sorted({codec.replace(_HOLE, str(bound)) for bound in (lowest, highest)}))
            if table_hashes(ends):
                table_hashes(parse(codec.replace(_HOLE, str(quality))) for quality in range(lowest, highest + 1))

    def draw(self, seed: int, epoch: int, index: int) -> tuple[Degradation, bool]:
        """The degradation of an image in an epoch, and whether the image is mirrored before: a pure function.

        >>> TrainingViews({"jpeg-{}": [10, 95]}).draw(seed=0, epoch=1, index=2)
        (Jpeg(quality=20, subsampling=None, progressive=False, optimise=False, generations=1, shift=0), False)
        """
        clean, flip, codec, share = np.random.default_rng([seed, epoch, index]).random(4).tolist()
        mirrored = flip < self.flip
        if clean < self.clean:
            return Original(), mirrored
        template, (lowest, highest) = self._ranges[int(codec * len(self._ranges))]
        if epoch + 1 < self.curriculum:
            lowest = highest - (highest - lowest) * (epoch + 1) // self.curriculum
        name = template.replace(_HOLE, str(self.law.quality(lowest, highest, share)))
        if name not in self._parsed:
            self._parsed[name] = parse(name)
        return self._parsed[name], mirrored

    @cached_property
    def _ranges(self) -> list[tuple[str, tuple[int, int]]]:
        return [(codec, (bounds[0], bounds[1])) for codec, bounds in self.codecs.items()]

    @cached_property
    def _parsed(self) -> dict[str, Degradation]:  # the same hundred, image after image
        return {}

    def describe(self) -> dict[str, Any]:
        """What a record says about the random views, JSON-able."""
        return {
            "codecs": {codec: tuple(bounds) for codec, bounds in self.codecs.items()},
            "law": type(self.law).__name__,
            "clean": self.clean,
            "flip": self.flip,
            **({"curriculum": self.curriculum} if self.curriculum else {}),
        }


class RandomPairs(DegradedViews):
    """The original and one random view of each image.

    Indexing takes a ticket, epoch * length + position, as `EpochSampler` deals them: so that what is drawn depends on
    the seed, the epoch and the image alone, not on which loader process or rank draws it, or on an interruption.

    Args:
        source: The images.
        draws: What the random view is drawn from.
        indices: Positions in the source.
        seed: Of the draws.
        geometry: What to fit both views to; see `DegradedViews`.
    """

    def __init__(
        self,
        source: Source,
        draws: TrainingViews,
        indices: Sequence[int],
        seed: int,
        geometry: Geometry | None = None,
    ) -> None:
        super().__init__(source, (), indices, geometry)
        self.names = (ORIGINAL, RANDOM)
        self.draws, self.seed = draws, seed

    def index(self, position: int) -> int:
        """Position in the source of a ticket's image."""
        return self.indices[position % len(self)]

    def __getitem__(self, ticket: int) -> Sample | Unreadable | None:
        epoch, index = ticket // len(self), self.index(ticket)
        degradation, mirrored = self.draws.draw(self.seed, epoch, index)

        def degraded(image: Image.Image) -> Iterator[tuple[str, Degraded]]:
            if mirrored:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            yield ORIGINAL, Degraded(image, None)
            yield RANDOM, degradation(image)

        sample = self.sample(index, degraded)
        if isinstance(sample, Sample):
            return replace(sample, draw=Draw(epoch, index, degradation.name, mirrored))
        return sample


class EpochSampler(DistributedSampler[int]):
    """Shuffles like its parent and deals tickets: epoch * length of the data set + position.

    >>> from torch.utils.data import TensorDataset
    >>> sampler = EpochSampler(range(3), num_replicas=1, rank=0, shuffle=False)
    >>> sampler.set_epoch(2); list(sampler)
    [6, 7, 8]
    """

    def __iter__(self) -> Iterator[int]:
        length = len(self.dataset)  # type: ignore[arg-type]  # torch's Dataset declares no length
        return (self.epoch * length + position for position in super().__iter__())
