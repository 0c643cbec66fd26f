"""The score of a drop, written out."""

import numpy as np
from scipy.optimize import minimize_scalar


def score_by_brute_force(broken, repaired, n, drop):
    """Tango's statistic, whose likelihood is maximised numerically instead of by its root."""

    def loss(share):
        chances = np.array([share + drop, share, 1 - 2 * share - drop])
        counts = np.array([broken, repaired, n - broken - repaired])
        return -np.sum(counts[counts > 0] * np.log(np.maximum(chances[counts > 0], 1e-300)))

    share = minimize_scalar(loss, bounds=(max(0, -drop), (1 - drop) / 2), method="bounded", options={"xatol": 1e-12}).x
    return (broken - repaired - n * drop) / np.sqrt(n * (2 * share + drop - drop**2))
