"""Between the original and the tuned weights: WiSE-FT (Wortsman et al., 2022, arXiv 2109.01903)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.finetuning.validation import Measures, mean_precision
from datamodules.errors import UserError

BEST = "best"


def interpolate(original: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Take alpha * tuned + (1 - alpha) * original, tensor by tensor; equal tensors, and integers, stay as they are.

    Args:
        original: State dict of the frozen model.
        tuned: State dict of the same architecture.
        alpha: Share of the tuned weights, in [0, 1]. At 0 and 1 the result is the original's and the tuned one's bits.

    Raises:
        ValueError: The names differ.

    >>> interpolate({"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}, 0.25)
    {'w': tensor([0.2500, 1.0000])}
    """
    if original.keys() != tuned.keys():
        raise ValueError(f"these are two architectures: {sorted(original.keys() ^ tuned.keys())[:3]}")
    if alpha in (0, 1):
        return dict(tuned if alpha else original)
    return {name: _between(tensor, tuned[name].to(tensor), alpha) for name, tensor in original.items()}


def _between(start: Tensor, end: Tensor, alpha: float) -> Tensor:
    return torch.where(start == end, start, start.lerp(end, alpha)) if start.is_floating_point() else start


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several models' weights; equal tensors, and integers, stay as they are.

    Args:
        states: State dicts of one architecture.

    Raises:
        ValueError: The names differ.

    >>> average([{"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}])
    {'w': tensor([0.5000, 1.0000])}
    """
    first, *others = states
    for other in others:
        if first.keys() != other.keys():
            raise ValueError(f"these are two architectures: {sorted(first.keys() ^ other.keys())[:3]}")
    return {name: _mean([state[name] for state in states]) for name in first}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    if not first.is_floating_point() or all(torch.equal(first, other) for other in tensors[1:]):
        return first
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(first.dtype)


def check_alphas(option: str, alphas: Sequence[float | str]) -> None:
    """Refuse what is no share.

    Raises:
        UserError: One is outside [0, 1] and not "best".
    """
    for alpha in alphas:
        if alpha != BEST and not (isinstance(alpha, int | float) and 0 <= alpha <= 1):
            raise UserError(f"{option} {alpha} is no share of the tuned weights: choose from 0 to 1, or {BEST}")


def best_alpha(curve: Mapping[float, Measures]) -> float:
    """The share with the highest mean precision over all views, the original among them; of equal ones the smallest.

    >>> best_alpha({0.0: {"original": {"precision": 0.9}}, 1.0: {"original": {"precision": 0.9}}})
    0.0
    """
    return max(sorted(curve), key=lambda alpha: mean_precision(curve[alpha]))
