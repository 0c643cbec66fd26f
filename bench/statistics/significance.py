"""Tests between predictions of the same images, from counts alone."""

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def mcnemar_exact(broken: npt.ArrayLike, repaired: npt.ArrayLike) -> Floats:
    """Two-sided p-values of McNemar's (1947) test in its exact, binomial form, elementwise; 1 where nothing changed.

    >>> mcnemar_exact([9, 0], [3, 0]).round(10).tolist()
    [0.1459960938, 1.0]
    """
    less, changed = np.minimum(broken, repaired), np.add(broken, repaired)
    tail = bdtr(np.asarray(less, np.float64), np.asarray(changed, np.int64), 0.5)
    return np.minimum(2 * np.asarray(tail, dtype=np.float64), 1.0)


def mcnemar_bound(before: npt.ArrayLike, after: npt.ArrayLike, images: npt.ArrayLike) -> Floats:
    """The largest p-value of `mcnemar_exact` that numbers of right images allow, elementwise.

    Which images changed is not known: of all ways to get from one number to the other that with most changes on both
    sides has the largest. As a p-value it is on the safe side.

    Args:
        before: Right images in the original.
        after: Right images in the view.
        images: Number of images.

    >>> mcnemar_bound(90, 60, 100).item() == mcnemar_exact(40, 10).item()
    True
    """
    before, after = np.asarray(before, np.int64), np.asarray(after, np.int64)
    broken = np.minimum(before, np.asarray(images, np.int64) - after)
    return mcnemar_exact(broken, broken - before + after)


def holm(p_values: npt.ArrayLike) -> Floats:
    """P-values adjusted for a family of tests (Holm, 1979): the chance of one false rejection or more is controlled.

    >>> holm([0.01, 0.04, 0.03]).round(10).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1.0)


def pairwise_discordance(correct: npt.NDArray[np.uint8]) -> tuple[Counts, Counts]:
    """For every pair of rows, the images that only the first and only the second has right.

    Args:
        correct: uint8 [E, B], a row of packed bits per encoder (`numpy.packbits`), padded with zeros.

    Returns:
        Two int64 [E * (E - 1) / 2] in the order (0, 1), (0, 2), ..., (1, 2), ...

    >>> first, second = pairwise_discordance(np.packbits([[1, 1, 0], [0, 1, 0], [0, 0, 1]], axis=1))
    >>> first.tolist(), second.tolist()
    ([1, 2, 1], [0, 1, 1])
    """
    total = np.bitwise_count(correct).sum(1, dtype=np.int64)
    only_first, only_second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for row in range(len(correct) - 1):
        others = slice(row + 1, None)
        first = np.bitwise_count(correct[row] & ~correct[others]).sum(1, dtype=np.int64)
        only_first.append(first)
        only_second.append(total[others] - total[row] + first)
    return np.concatenate(only_first), np.concatenate(only_second)
