"""The search: of the tables that stay within some bytes, those that distort least, by measurement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.tables.journal import TablesJournal, to_steps
from bench.tables.local_model import Doubles, Slopes, curvature, modelled_bits, moves, slopes
from bench.tables.measuring import Measured, TuningImages
from bench.tables.power_law import CHROMA, EXPONENTS, power_law, within_bytes
from datamodules.degradations.quantisation import Quantisation

_REACH, _LARGEST_REACH, _LEAST_REACH = 2.0, 3.0, 1.04
_GROWTH, _SHRINKAGE = 1.2, 0.6  # of the logarithm of the reach
_PRICES = 1e-9, 1e3  # distortion per bit
_COARSEST = 5000.0  # of a power law: all steps are 255
_PROBE = 1.3  # by which a step is changed to see what the files change by
_FINALISTS = 3


@dataclass(frozen=True)
class Candidate:
    """Tables, and what they came to on the images that proposals are measured on."""

    tables: Quantisation
    measured: Measured


@dataclass(frozen=True)
class Found:
    """What a search came to at one scale.

    Attributes:
        most: Bytes that were allowed, means over images with headers.
        law: The best of the power laws.
        exponent: Of it.
        chroma: Its factor of the steps of chroma.
        start: What the steps set out from: the best power law, or the tables of the scale before if they were better.
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


@dataclass(frozen=True)
class Workplace:
    """What a search works with.

    Attributes:
        images: On which proposals are measured.
        parts: Other images, on which gradients are taken, a part after the other.
        trial: Some of `images`, on which the power laws are told apart and the model of the rate is held against files.
        sensitivities: float64 [128] by subsampling: those that are tried are the keys.
        journal: What it knows is not measured again.
        tick: Called after each proposal.
    """

    images: TuningImages
    parts: Sequence[TuningImages]
    trial: TuningImages
    sensitivities: Mapping[str, Doubles]
    journal: TablesJournal
    tick: Callable[[], Any] = lambda: None

    def measured(self, question: str, make: Callable[[], Quantisation]) -> Candidate:
        """Tables and what they come to, from the journal if it has the answer."""
        answer = self.journal.get(question)
        if answer is None:
            tables = make()
            answer = {"tables": to_steps(tables), **asdict(self.images.measure(tables))}
            self.journal.keep(question, answer)
        return _candidate(answer)


def search(work: Workplace, scale: int, most: float, steps: int, before: Quantisation | None = None) -> Found:
    """Minimise the distortion of tables within some bytes.

    It begins with power laws of the sensitivities, each made as fine as the bytes allow. From the best one on, a
    proposal is what local models of rate and distortion choose within a reach of each step, at the price of a bit that
    fills the allowed bytes; it is taken if its measured distortion is less. The models are refreshed with gradients of
    other images at the tables where the search is. The reach grows after a step that was taken and shrinks after one
    that was not, until nothing moves.

    Args:
        work: Images, sensitivities, journal.
        scale: For the journal.
        most: Bytes allowed, a mean over the images.
        steps: At most so many proposals.
        before: Tables of another scale, which are tried as a start, made as fine as the bytes allow.
    """
    law, exponent, chroma = _best_law(work, scale, most)
    start = law
    if before is not None:
        other = work.measured(f"{scale}/start", lambda: _rescaled(before, work.images, most) or law.tables)
        start = min(law, other, key=lambda one: one.measured.distortion)
    best, reach, taken = start, _REACH, 0
    kind = start.tables.subsampling
    known: list[Slopes] = []
    rates = _rates(work, scale, best.tables) if steps else np.ones(128)
    while taken < steps and reach > _LEAST_REACH:
        part = work.parts[taken % len(work.parts)]
        known.append(_slopes(work.journal, f"{scale}/slopes/{taken}", part, best.tables))
        question = f"{scale}/step/{taken}"
        if work.journal.get(question) is None:
            curvatures = curvature(work.sensitivities[kind], known)
            around = moves(best.tables, part.coefficients(kind), part.weights[kind], curvatures, rates, reach)
            made = within_bytes(partial(_proposal, around.best, kind), work.images.encoded_bytes, most, *_PRICES)
            if made is None or made == best.tables:
                work.journal.keep(question, {})
            else:
                work.measured(question, partial(Quantisation, made.luma, made.chroma, made.subsampling))
        taken += 1
        work.tick()
        answer = work.journal.get(question)
        proposed = _candidate(answer) if answer else best
        better = proposed.measured.distortion < best.measured.distortion
        best = proposed if better else best
        reach = min(reach**_GROWTH, _LARGEST_REACH) if better else reach**_SHRINKAGE
    return Found(most, law, exponent, chroma, start, best, taken)


def _best_law(work: Workplace, scale: int, most: float) -> tuple[Candidate, float, float]:
    """The power law that distorts least, its exponent and its factor of chroma; first tried on fewer images."""
    allowed = most * _size_ratio(work)
    tried = []
    for subsampling, sensitivity in work.sensitivities.items():
        for exponent in EXPONENTS:
            for chroma in CHROMA:
                question = f"{scale}/law/{subsampling}/{exponent}/{chroma}"
                make = partial(power_law, sensitivity, exponent, chroma, subsampling=subsampling)
                if work.journal.get(question) is None:
                    made = within_bytes(make, work.trial.encoded_bytes, allowed, 0.5, _COARSEST)
                    work.journal.keep(question, work.trial.measure(made or make(_COARSEST)).distortion)
                tried.append((float(work.journal.get(question)), question, make, exponent, chroma))
    finalists = []
    for _, question, make, exponent, chroma in sorted(tried, key=lambda one: one[0])[:_FINALISTS]:
        finish = partial(_fitted, make, work.images, most)
        finalists.append((work.measured(f"{question}/final", finish), exponent, chroma))
    return min(finalists, key=lambda one: one[0].measured.distortion)


def _fitted(make: Callable[[float], Quantisation], images: TuningImages, most: float) -> Quantisation:
    return within_bytes(make, images.encoded_bytes, most, 0.5, _COARSEST) or make(_COARSEST)


def _size_ratio(work: Workplace) -> float:
    """Bytes of the trial images per byte of all."""
    middle = Quantisation((16,) * 64, (16,) * 64)
    return work.trial.encoded_bytes(middle) / work.images.encoded_bytes(middle)


def _rescaled(tables: Quantisation, images: TuningImages, most: float) -> Quantisation | None:
    return within_bytes(partial(_coarser, tables), images.encoded_bytes, most, 1 / 64, 64)


def _slopes(journal: TablesJournal, question: str, part: TuningImages, tables: Quantisation) -> Slopes:
    answer = journal.get(question)
    if answer is None:
        _, gradients = part.gradients(tables)
        coefficients = part.coefficients(tables.subsampling)
        measured = slopes(tables, coefficients, gradients, part.weights[tables.subsampling])
        answer = {name: values.tolist() for name, values in vars(measured).items()}
        journal.keep(question, answer)
    return Slopes(*(np.array(answer[name], dtype=np.float64) for name in ("inner", "squares", "variance")))


def _rates(work: Workplace, scale: int, tables: Quantisation) -> Doubles:
    """Bits that the trial images change by per bit of the model, when one step is made coarser: [128]."""
    answer = work.journal.get(f"{scale}/rates")
    if answer is None:
        kind, steps = tables.subsampling, np.array([*tables.luma, *tables.chroma])
        coarser = np.minimum(np.maximum((steps * _PROBE).round(), steps + 1), 255)
        coefficients = work.trial.coefficients(kind)
        weights = work.trial.weights[kind]
        model = np.zeros(128)
        for first, plane, weight in zip((0, 64), coefficients, weights, strict=True):
            before, after = (
                modelled_bits(plane, weight, one[first : first + 64].astype(np.float32)) for one in (steps, coarser)
            )
            model[first : first + 64] = before - after
        now = work.trial.encoded_bytes(tables)
        files = np.zeros(128)
        for entry in np.flatnonzero(model > 0):
            probe = np.where(np.arange(128) == entry, coarser, steps).astype(int).tolist()
            files[entry] = 8 * (
                now - work.trial.encoded_bytes(Quantisation(tuple(probe[:64]), tuple(probe[64:]), kind))
            )
        usual = max(files.sum() / max(model.sum(), 1e-12), 0.1)
        seen = model > 0.05 * model.max()
        ratio = np.divide(files, model, out=np.full(128, usual), where=seen)
        answer = (ratio / usual).clip(1 / 3, 3).tolist()
        work.journal.keep(f"{scale}/rates", answer)
    return np.array(answer, dtype=np.float64)


def _candidate(answer: Mapping[str, Any]) -> Candidate:
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
