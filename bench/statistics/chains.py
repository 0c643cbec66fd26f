"""Several tests at once, ordered in chains: what is shown jointly."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from bench.statistics.paired import TAIL

T = TypeVar("T")


def shown_in_chains(chains: Sequence[Sequence[T]], p_value: Callable[[T], float], level: float = TAIL) -> list[list[T]]:
    """The hypotheses of each chain that are rejected, from its head on, with at most `level` for a false one or more.

    A chain is tested in its order, without correction, up to the first that is not rejected. Each chain begins with an
    equal part of the level; one that is rejected as a whole leaves its part to the others (the graphical procedure of
    Bretz, Maurer, Brannath and Posch, 2009, Statistics in Medicine 28). With one chain this is fixed-sequence testing,
    with chains of one hypothesis it is Holm's method.

    Args:
        chains: Hypotheses, in an order that does not depend on what is tested; none of them is empty.
        p_value: Of one hypothesis; asked for only where it matters.
        level: The chance of one false rejection or more, whichever hypotheses are true.

    >>> p = {"a": 0.001, "b": 0.02, "c": 0.2, "d": 0.012}
    >>> shown_in_chains(["abc"], p.get), shown_in_chains(["abc", "d"], p.get)
    ([['a', 'b']], [['a', 'b'], ['d']])
    """
    shown: list[list[T]] = [[] for _ in chains]
    parts = [level / len(chains) for _ in chains]
    going = True
    while going:
        going = False
        for place, chain in enumerate(chains):
            while len(shown[place]) < len(chain) and p_value(chain[len(shown[place])]) <= parts[place]:
                shown[place].append(chain[len(shown[place])])
                going = True
            if parts[place] and len(shown[place]) == len(chain):
                others = [other for other in range(len(chains)) if len(shown[other]) < len(chains[other])]
                for other in others:
                    parts[other] += parts[place] / len(others)
                parts[place] = 0.0
    return shown
