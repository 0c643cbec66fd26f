"""Sharding that neither repeats nor drops a sample."""

from collections.abc import Collection, Iterator, Sequence

from torch.utils.data import DistributedSampler

from datamodules.views import PADDING


class ExactDistributedSampler(DistributedSampler[int]):
    """Deals whole batches to the ranks: batch k of what is left to do goes to rank k modulo the world size.

    torch's own sampler evens out the ranks by repeating samples, which biases every metric. Lightning leaves samplers
    that are a `DistributedSampler` as they are. Batches are cut from the whole data set, before anything is dealt, so
    that the same images meet in a batch, which decides about the last bits of a result, under any world size and after
    any interruption. A short batch, and a rank with a batch less than another, is filled up with PADDING, which
    collating drops: all ranks take the same number of steps, and one that gets no image still takes part in the
    collective calls.

    Args:
        indices: What the positions 0, 1, 2, ... that are dealt stand for.
        batch_size: Of the loader, which has to cut batches of this size from the sampler.
        num_replicas: World size.
        rank: This process.
        done: Indices that are left out.

    >>> [list(ExactDistributedSampler(range(5), 2, 2, rank)) for rank in range(2)]
    [[0, 1, 4, -1], [2, 3, -1, -1]]
    """

    def __init__(
        self,
        indices: Sequence[int],
        batch_size: int,
        num_replicas: int,
        rank: int,
        done: Collection[int] = frozenset(),
    ) -> None:
        super().__init__(indices, num_replicas, rank, shuffle=False)  # type: ignore[arg-type]  # its length is used
        batches = [range(start, min(start + batch_size, len(indices))) for start in range(0, len(indices), batch_size)]
        left = [[position for position in batch if indices[position] not in done] for batch in batches]
        left = [batch for batch in left if batch]
        steps = max(1, -(-len(left) // num_replicas))  # Lightning skips a loader without a step, and what follows it
        own = left[rank::num_replicas]
        own += [[]] * (steps - len(own))
        self._own = [batch + [PADDING] * (batch_size - len(batch)) for batch in own]
        self.num_samples = steps * batch_size

    def __iter__(self) -> Iterator[int]:
        for batch in self._own:
            yield from batch
