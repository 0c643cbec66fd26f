import pytest
from torch.utils.data import DataLoader

from datamodules.sampler import ExactDistributedSampler
from datamodules.views import PADDING

WORLDS = range(1, 6)
SIZES = (*range(13), 100, 1001)


def dealt(indices, batch_size, world, done=frozenset()):
    """What every rank's loader cuts from its sampler, padding dropped."""
    dataset = {position: index for position, index in enumerate(indices)} | {PADDING: None}
    samplers = [ExactDistributedSampler(indices, batch_size, world, rank, done) for rank in range(world)]
    loaders = [DataLoader(dataset, batch_size, sampler=sampler, collate_fn=list) for sampler in samplers]
    return [[[index for index in batch if index is not None] for batch in loader] for loader in loaders]


def flat(ranks):
    return sorted(index for batches in ranks for batch in batches for index in batch)


@pytest.mark.parametrize("batch_size", [1, 3, 128])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_index_exactly_once_in_equally_many_steps(size, world, batch_size):
    ranks = dealt(range(size), batch_size, world)
    assert flat(ranks) == list(range(size))
    batches = -(-size // batch_size)
    assert {len(rank) for rank in ranks} == {max(1, -(-batches // world))}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_are_those_of_one_process(size, world):
    [alone] = dealt(range(size), 4, 1)
    shared = [batch for rank in dealt(range(size), 4, world) for batch in rank if batch]
    assert sorted(shared) == alone


@pytest.mark.parametrize("before", WORLDS)
@pytest.mark.parametrize("after", WORLDS)
def test_batches_left_after_an_interruption_are_those_of_an_undisturbed_run(before, after):
    indices = range(10, 71, 2)
    interrupted = dealt(indices, 4, before)
    done = {index for rank, batches in enumerate(interrupted) for batch in batches[: 1 + rank] for index in batch}
    [alone] = dealt(indices, 4, 1)
    left = [batch for rank in dealt(indices, 4, after, done) for batch in rank if batch]
    assert sorted(left) == [batch for batch in alone if not done & set(batch)]


def test_what_is_done_is_left_out_also_within_a_batch():
    assert dealt(range(6), 4, 1, done={1, 5}) == [[[0, 2, 3], [4]]]


def test_a_run_with_nothing_left_still_takes_one_step():
    assert dealt(range(6), 4, 2, done=set(range(6))) == [[[]], [[]]]


def test_order_does_not_depend_on_the_epoch():
    sampler = ExactDistributedSampler(range(10), 2, 2, 0)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first == [0, 1, 4, 5, 8, 9]
