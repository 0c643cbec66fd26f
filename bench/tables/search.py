"""The search: of the tables that stay within some bytes, those that distort least, by measurement."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from bench.tables.journal import TablesJournal, to_steps
from bench.tables.local_model import Doubles, moves
from bench.tables.measuring import Measured, TuningImages
from bench.tables.power_law import CHROMA, EXPONENTS, power_law, within_bytes
from datamodules.degradations.quantisation import Quantisation

_REACH, _LARGEST_REACH, _LEAST_REACH = 1.4, 2.0, 1.03
_GROWTH = 1.3  # of the logarithm of the reach after a step that was taken
_PRICES = 1e-9, 1e3  # distortion per bit


@dataclass(frozen=True)
class Candidate:
    """Tables, and what they came to on the images of the search."""

    tables: Quantisation
    measured: Measured


@dataclass(frozen=True)
class Found:
    """What a search came to at one scale.

    Attributes:
        most: Bytes that were allowed, means over images with headers.
        law: The best of the power laws, with its exponent and its factor of chroma.
        start: What the steps set out from: the best power law, or the tables of the scale before, whichever was better.
        best: Never worse than the start.
        steps: Proposals that were measured.
    """

    most: float
    law: Candidate
    exponent: float
    chroma: float
    start: Candidate
    best: Candidate
    steps: int


def search(
    images: TuningImages,
    trial: TuningImages,
    sensitivities: dict[str, Doubles],
    most: float,
    steps: int,
    journal: TablesJournal,
    scale: int,
    before: Quantisation | None = None,
    tick: Callable[[], Any] = lambda: None,
) -> Found:
    """Minimise the distortion of tables within some bytes.

    It begins with power laws of the sensitivities, each made as fine as the bytes allow, tried on some images. From the
    best one on, a proposal is what local models of rate and distortion choose within a reach of each step, at the price
    of a bit that fills the allowed bytes; it is taken if its measured distortion is less. The reach grows after a
    step that was taken and shrinks after one that was not, until nothing moves.

    Args:
        images: Of the search.
        trial: Some of them, on which the power laws are told apart.
        sensitivities: float64 [128] by subsampling: those tried are the keys.
        most: Bytes allowed, a mean over the images.
        steps: At most so many proposals.
        journal: What it has of this scale is not measured again.
        scale: For the journal.
        before: Tables of another scale, which are tried as a start, made as fine as the bytes allow.
        tick: Called after each proposal.
    """
    law, exponent, chroma = _best_law(images, trial, sensitivities, most, journal, scale)
    starts = [law]
    if before is not None:
        made = within_bytes(partial(_coarser, before), images.encoded_bytes, most, 1 / 64, 64)
        starts += [] if made is None else [_measured(images, made, journal, f"{scale}/start")]
    start = best = min(starts, key=lambda one: one.measured.distortion)
    reach, gradients, taken = _REACH, None, 0
    while taken < steps and reach > _LEAST_REACH:
        question = f"{scale}/step/{taken}"
        answer = journal.get(question)
        if answer is None:
            if gradients is None:
                gradients = images.gradients(best.tables)[1]
            kind = best.tables.subsampling
            around = moves(
                best.tables,
                images.coefficients(kind),
                gradients,
                images.weights[kind],
                sensitivities[kind],
                best.measured.distortion,
                reach,
            )
            made = within_bytes(partial(_proposal, around.best, kind), images.encoded_bytes, most, *_PRICES)
            still = made is None or made == best.tables
            answer = {"still": still}
            if made is not None and not still:
                answer |= {"tables": to_steps(made), **asdict(images.measure(made))}
            journal.keep(question, answer)
        taken += 1
        tick()
        proposed = None if answer["still"] else _candidate(answer)
        if proposed is not None and proposed.measured.distortion < best.measured.distortion:
            best, gradients = proposed, None
            reach = min(reach**_GROWTH, _LARGEST_REACH)
        else:
            reach **= 0.5
    return Found(most, law, exponent, chroma, start, best, taken)


def _best_law(
    images: TuningImages,
    trial: TuningImages,
    sensitivities: dict[str, Doubles],
    most: float,
    journal: TablesJournal,
    scale: int,
) -> tuple[Candidate, float, float]:
    """The power law that distorts the trial images least, measured on all, with its exponent and factor of chroma."""
    tried = []
    allowed = None
    for subsampling, sensitivity in sensitivities.items():
        for exponent in EXPONENTS:
            for chroma in CHROMA:
                question = f"{scale}/law/{subsampling}/{exponent}/{chroma}"
                answer = journal.get(question)
                if answer is None:
                    if allowed is None:  # what the allowed bytes are on the trial images
                        allowed = most * _size_ratio(images, trial)
                    make = partial(power_law, sensitivity, exponent, chroma, subsampling=subsampling)
                    made = within_bytes(make, trial.encoded_bytes, allowed, 0.5, 2000)
                    answer = None if made is None else trial.measure(made).distortion
                    journal.keep(question, answer if answer is not None else float("1e9"))
                    answer = journal.get(question)
                tried.append((float(answer), exponent, chroma, subsampling))
    _, exponent, chroma, subsampling = min(tried)
    make = partial(power_law, sensitivities[subsampling], exponent, chroma, subsampling=subsampling)
    answer = journal.get(f"{scale}/law")
    if answer is None:
        made = within_bytes(make, images.encoded_bytes, most, 0.5, 2000) or make(2000)
        answer = {"tables": to_steps(made), **asdict(images.measure(made))}
        journal.keep(f"{scale}/law", answer)
    return _candidate(answer), exponent, chroma


def _size_ratio(images: TuningImages, trial: TuningImages) -> float:
    middle = Quantisation((16,) * 64, (16,) * 64)
    return trial.encoded_bytes(middle) / images.encoded_bytes(middle)


def _measured(images: TuningImages, tables: Quantisation, journal: TablesJournal, question: str) -> Candidate:
    answer = journal.get(question)
    if answer is None:
        answer = {"tables": to_steps(tables), **asdict(images.measure(tables))}
        journal.keep(question, answer)
    return _candidate(answer)


def _candidate(answer: dict[str, Any]) -> Candidate:
    subsampling, *steps = answer["tables"]
    measured = Measured(*(float(answer[name]) for name in ("encoded_bytes", "distortion", "agreement")))
    return Candidate(Quantisation(tuple(steps[:64]), tuple(steps[64:]), subsampling), measured)


def _proposal(best: Callable[[float, str], Quantisation], subsampling: str, price: float) -> Quantisation:
    return best(price, subsampling)


def _coarser(tables: Quantisation, factor: float) -> Quantisation:
    luma, chroma = (
        tuple(min(max(round(step * factor), 1), 255) for step in steps) for steps in (tables.luma, tables.chroma)
    )
    return Quantisation(luma, chroma, tables.subsampling)
