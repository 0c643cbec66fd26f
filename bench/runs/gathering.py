"""Bringing together what the processes of a run have found."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.distributed

from bench.outcomes import Outcomes


def gather(value: Any) -> Sequence[Any]:
    """The values of all processes, in rank order, on the first one; nothing on the others."""
    if not torch.distributed.is_initialized():
        return [value]
    first = torch.distributed.get_rank() == 0
    values: list[Any] | None = [None] * torch.distributed.get_world_size() if first else None
    torch.distributed.gather_object(value, values)
    return values if values is not None else []


def gather_outcomes(own: Mapping[str, Outcomes]) -> dict[str, Outcomes] | None:
    """The outcomes of all processes by view, every image once, sorted by index, on the first one; None on the others.

    Args:
        own: Those of this process, by view.
    """
    ranks = gather(own)
    return {view: Outcomes.concatenate([rank[view] for rank in ranks]).unique() for view in own} if ranks else None


def gather_everywhere(value: Any) -> Sequence[Any]:
    """The values of all processes, in rank order, on each of them."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], Any]) -> Any:
    """What the first process makes, in host memory, on each of them."""
    if not torch.distributed.is_initialized():
        return make()
    values = [make() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(values)
    return values[0]
