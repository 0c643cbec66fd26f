"""How often a class is wrongly said to lose, and what is seen: `python -m benchmarks.classes [--repetitions 500]`.

Classes have 0.7 of their images right in the original; in each of the views as many images break as are repaired, so
that no class truly loses, but for one, which loses some points in the first view. Printed are, in percent, how often
the report says of any other class that it loses (at most 5 is meant), and how often it says so of that one.
"""

import argparse

import numpy as np
import numpy.typing as npt

from bench.runs.view_record import ClassCounts, ViewRecord
from bench.statistics.classes import SIGNIFICANT, class_p_values

_SIZES = ((10, 100), (10, 1000), (100, 100), (1000, 50))  # classes, images of each
_LOSSES = (10, 20, 30, 40, 60)  # points
_RIGHT, _BROKEN, _VIEWS = 0.7, 0.1, 11


def simulate(classes: int, images: int, loss: int, repetitions: int) -> tuple[float, float]:
    """Percent of repetitions in which any class that loses nothing is said to lose, and in which that which does is."""
    draws = np.random.default_rng([classes, images, loss])
    wrong = seen = 0
    for _ in range(repetitions):
        right = draws.binomial(images, _RIGHT, classes)
        broken = np.full((_VIEWS, classes), _BROKEN)
        broken[0, 0] += loss / 100 / _RIGHT
        lost = draws.binomial(right, broken)
        gained = draws.binomial(images - right, _BROKEN * _RIGHT / (1 - _RIGHT), broken.shape)
        after = right - lost + gained
        pairs = {str(view): (_record(right), _record(row)) for view, row in enumerate(after)}
        said = np.array([*class_p_values(pairs, (images,) * classes).values()]) < SIGNIFICANT
        said &= after < right
        wrong += bool(said[:, 1:].any() or said[1:, 0].any())
        seen += bool(said[0, 0])
    return 100 * wrong / repetitions, 100 * seen / repetitions


def _record(right: npt.NDArray[np.int64]) -> ViewRecord:
    counts = tuple(right.tolist())
    return ViewRecord({}, classes=ClassCounts(counts, counts))


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    repetitions = parser.parse_args().repetitions
    print(f"{_VIEWS} views, {repetitions:,} repetitions; in percent")
    print("classes  images of each  wrong at most  " + "  ".join(f"{loss:>3} points" for loss in _LOSSES))
    for classes, images in _SIZES:
        results = [simulate(classes, images, loss, repetitions) for loss in _LOSSES]
        wrong, seen = max(result[0] for result in results), (result[1] for result in results)
        print(f"{classes:>7}  {images:>14}  {wrong:13.1f}  " + "  ".join(f"{value:10.1f}" for value in seen))


if __name__ == "__main__":
    main()
