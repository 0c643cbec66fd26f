"""The search: of the tables that stay within some bytes, those that distort least, by measurement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.tables.journal import TablesJournal
from bench.tables.measuring import Measured, TuningImages
from bench.tables.shapes import CHROMA, EXPONENTS, Doubles, Kind, power_law, shaped, within_bytes
from datamodules.degradations.quantisation import Quantisation

POPULATION = 8
_PARENTS = 4
_SPREAD = 0.12  # of the parameters, to begin with
_WIDEN, _NARROW = 1.1, 0.75
_MEMORY = 0.7  # of the spreads of the parameters, from one generation to the next
_FINALISTS = 3


@dataclass(frozen=True)
class Candidate:
    """Tables with what they are made of, and what they came to on the images of the search.

    Attributes:
        kind: Of the tables.
        parameters: See `bench.tables.shapes.shaped`.
        factor: See there.
        tables: The tables.
        measured: What they came to.
    """

    kind: Kind
    parameters: Doubles
    factor: float
    tables: Quantisation
    measured: Measured


@dataclass(frozen=True)
class Found:
    """What a search came to at one scale.

    Attributes:
        most: Bytes that were allowed, means over images with headers.
        law: The best of the power laws.
        best: Never worse than the start: the law, or the shape of the scale before if that is better.
    """

    most: float
    law: Candidate
    best: Candidate


@dataclass(frozen=True)
class Workplace:
    """What a search works with.

    Attributes:
        images: On which tables are measured.
        trial: Some of them, on which the power laws are told apart first.
        sensitivities: float64 [128] by subsampling: those that are tried are the keys.
        shared: Whether one table for luma and chroma is tried, too.
        journal: What it knows is not measured again.
        seed: Of the search.
        tick: Called after each measurement.
    """

    images: TuningImages
    trial: TuningImages
    sensitivities: Mapping[str, Doubles]
    journal: TablesJournal
    shared: bool = True
    seed: int = 0
    tick: Callable[[], Any] = lambda: None


def search(work: Workplace, scale: int, most: float, generations: int, before: Candidate | None = None) -> Found:
    """Minimise the distortion of tables within some bytes.

    It begins with power laws of the sensitivities. From the best one on it is an evolution strategy over the parameters
    of the tables' shape, with weighted recombination of the better half and a spread for each parameter (Hansen and
    Ostermeier, 2001, without the covariances). Each shape is made as fine as the bytes allow before it is measured, so
    that all that are compared take the same bytes.

    Args:
        work: Images, sensitivities, journal.
        scale: For the journal.
        most: Bytes allowed, a mean over the images.
        generations: Of `POPULATION` measurements each; 0 leaves the power law.
        before: What another scale came to, whose shape is tried as a start.
    """
    law = _best_law(work, scale, most)
    start = law
    if before is not None:
        other = _measured(work, f"{scale}/before", before.kind, before.parameters, before.factor, most)
        start = min(law, other, key=_distortion)
    best, mean, spreads, spread = start, start.parameters, np.ones(len(start.parameters)), _SPREAD
    weights = np.log(_PARENTS + 0.5) - np.log(np.arange(1, _PARENTS + 1))
    weights /= weights.sum()
    for generation in range(generations):
        random = np.random.default_rng([work.seed, scale, generation])
        draws = random.standard_normal((POPULATION, len(mean)))
        draws[0] = 0  # the mean itself, which noise in the measurements favours least
        tried = [
            _measured(
                work, f"{scale}/{generation}/{place}", start.kind, mean + spread * spreads * draw, best.factor, most
            )
            for place, draw in enumerate(draws)
        ]
        ranked = sorted(tried, key=_distortion)[:_PARENTS]
        steps = np.stack([(one.parameters - mean) / spread for one in ranked])
        spreads = np.sqrt(_MEMORY * spreads**2 + (1 - _MEMORY) * weights @ steps**2)
        mean = weights @ np.stack([one.parameters for one in ranked])
        spread *= _WIDEN if _distortion(ranked[0]) < _distortion(best) else _NARROW
        best = min(best, ranked[0], key=_distortion)
    return Found(most, law, best)


def _best_law(work: Workplace, scale: int, most: float) -> Candidate:
    """The power law that distorts least; those that are best on the trial images are measured on all."""
    kinds = [
        Kind(name, shared) for name in work.sensitivities for shared in ([True, False] if work.shared else [False])
    ]
    [ratio] = work.journal.ask("trial/bytes", 1, partial(_size_ratio, work))
    allowed = most * ratio
    tried: list[tuple[float, str, Kind, Doubles, float]] = []
    for kind in kinds:
        for exponent in EXPONENTS:
            for chroma in (1.0,) if kind.shared else CHROMA:
                question = f"{scale}/law/{kind.subsampling}/{int(kind.shared)}/{exponent}/{chroma}"
                parameters = power_law(kind, exponent, chroma)
                make = partial(shaped, kind, work.sensitivities[kind.subsampling], parameters)
                distortion, factor = work.journal.ask(question, 2, partial(_tried, work, make, allowed))
                work.tick()
                tried.append((distortion, question, kind, parameters, factor))
    finalists = sorted(tried, key=lambda one: one[:2])[:_FINALISTS]
    return min(
        (
            _measured(work, f"{question}/all", kind, parameters, factor, most)
            for _, question, kind, parameters, factor in finalists
        ),
        key=_distortion,
    )


def _size_ratio(work: Workplace) -> list[float]:
    """Bytes of the trial images per byte of all."""
    middle = Quantisation((16,) * 64, (17,) * 64)
    return [work.trial.encoded_bytes(middle) / work.images.encoded_bytes(middle)]


def _tried(work: Workplace, make: Callable[[float], Quantisation], most: float) -> tuple[float, float]:
    """Distortion of the trial images, and the factor that fills their bytes."""
    tables, factor = within_bytes(make, work.trial.encoded_bytes, most)
    return work.trial.measure(tables).distortion, factor


def _measured(work: Workplace, question: str, kind: Kind, parameters: Doubles, guess: float, most: float) -> Candidate:
    """A shape as fine as the bytes allow, measured, or as the journal has it."""
    make = partial(shaped, kind, work.sensitivities[kind.subsampling], parameters)

    def measure() -> tuple[float, ...]:
        tables, factor = within_bytes(make, work.images.encoded_bytes, most, guess)
        return factor, *astuple(work.images.measure(tables))

    factor, *measured = work.journal.ask(question, 4, measure)
    work.tick()
    return Candidate(kind, parameters, factor, make(factor), Measured(*measured))


def _distortion(candidate: Candidate) -> float:
    return candidate.measured.distortion


def trials(kinds: Sequence[str], shared: bool, scales: int, generations: int) -> int:
    """At most so many measurements, for a progress bar."""
    laws = len(kinds) * len(EXPONENTS) * (len(CHROMA) + shared)
    return scales * (laws + _FINALISTS + 1 + generations * POPULATION)
