"""Sharding that neither repeats nor drops a sample."""

from collections.abc import Iterator, Sized

from torch.utils.data import DistributedSampler

from datamodules.views import PADDING


class ExactDistributedSampler(DistributedSampler[int]):
    """Gives rank r the positions r, r + world, r + 2 world, ... and fills up with PADDING, which collating drops.

    torch's own sampler evens out the ranks by repeating samples, which biases every metric. Lightning leaves samplers
    that are a `DistributedSampler` as they are. Every rank gets ceil(n / world) positions, so that all of them take the
    same number of steps, and one that gets no image still takes part in the collective calls.

    Args:
        dataset: Anything with a length n.
        num_replicas: World size.
        rank: This process.

    >>> [list(ExactDistributedSampler(range(4), 3, rank)) for rank in range(3)]
    [[0, 3], [1, -1], [2, -1]]
    """

    def __init__(self, dataset: Sized, num_replicas: int, rank: int) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)  # type: ignore[arg-type]  # only its length is used
        self.length = len(dataset)

    def __iter__(self) -> Iterator[int]:
        own = range(self.rank, self.length, self.num_replicas)
        yield from own
        yield from (PADDING for _ in range(self.num_samples - len(own)))
