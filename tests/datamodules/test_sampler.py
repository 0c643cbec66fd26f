import pytest
from torch.utils.data import DataLoader, DistributedSampler

from datamodules.sampler import ExactDistributedSampler
from datamodules.views import PADDING

WORLDS = range(1, 6)
SIZES = (*range(13), 100, 1001)


def shards(size, world):
    return [list(ExactDistributedSampler(range(size), world, rank)) for rank in range(world)]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_index_exactly_once_in_equally_many_steps(size, world):
    ranks = shards(size, world)
    assert sorted(index for rank in ranks for index in rank if index != PADDING) == list(range(size))
    assert {len(rank) for rank in ranks} == {-(-size // world)}
    assert len(ExactDistributedSampler(range(size), world, 0)) == -(-size // world)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", SIZES)
def test_padding_comes_last_and_at_most_once_per_rank(size, world):
    for rank in shards(size, world):
        assert rank.count(PADDING) <= 1
        assert PADDING not in rank[:-1]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", SIZES)
def test_shares_are_torchs_own_where_torch_repeats_nothing(size, world):
    torchs = [list(DistributedSampler(range(size), world, rank, shuffle=False)) for rank in range(world)]
    ours = shards(size, world)
    repeats = sum(map(len, torchs)) - size
    assert sum(rank.count(PADDING) for rank in ours) == repeats
    if repeats == 0:
        assert ours == torchs


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_every_rank_makes_the_same_number_of_batches(batch_size):
    loaders = [
        DataLoader(range(10), batch_size, sampler=ExactDistributedSampler(range(10), 3, rank)) for rank in range(3)
    ]
    assert len({len(loader) for loader in loaders}) == 1


def test_order_does_not_depend_on_the_epoch():
    sampler = ExactDistributedSampler(range(10), 2, 0)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first == [0, 2, 4, 6, 8]
