import gc
import os
import signal
import sys
import time
from itertools import pairwise
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from datamodules import child_deaths, loading
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.loader_progress import Progress
from datamodules.sources import ArraySource
from datamodules.training import TrainingViews
from datamodules.views import PADDING

pytestmark = [
    pytest.mark.timeout(120),  # what is tested is that nothing hangs
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated"),  # between Lightning and torch
]

TRAINING = {"training_views": TrainingViews({"jpeg-{}": [10, 90]}), "degradations": [], "validation_every": 20}


class Fatal(ArraySource):
    """Images filled with their index, some of which do something to the process that loads them."""

    def __init__(self, count, fates):
        images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
        super().__init__(images, [index % 2 for index in range(count)], ["even", "odd"])
        self.fates, self.parent = fates, os.getpid()

    def load(self, index):
        if index in self.fates and os.getpid() != self.parent:
            self.fates[index]()
        return super().load(index)

    def path(self, index):
        return f"{index}.png"


def dies(name):
    return lambda: os.kill(os.getpid(), getattr(signal, name))


def stands_still():
    time.sleep(1000)


class Dangerous(DegradedDataModule):
    def __init__(self, fates=None, count=20, **options):
        super().__init__(**{"num_workers": 2, "batch_size": 3, "degradations": ["jpeg-50"], **options})
        self.fates, self.count = fates or {}, count

    def source(self, split):
        return Fatal(self.count, self.fates)


def opened(stage="test", **options):
    data = Dangerous(**options)
    data.setup(stage)
    return data


def read(data, loader=None):
    batches = [data.on_before_batch_transfer(batch, 0) for batch in loader or data.test_dataloader()]
    return [index for batch in batches for index in batch.indices.tolist()], batches


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGBUS"])
def test_a_process_that_dies_ends_in_one_line_that_names_the_image_it_was_at(name):
    data = opened(fates={7: dies(name)})
    with pytest.raises(UserError) as caught:
        read(data)
    message = caught.value.on_command_line()
    assert f"a loader process ended ({name}" in message
    assert "at image 7.png: replace it, or leave such images out with --data.on_error skip" in message
    assert len(message.splitlines()) == 1


def test_skipping_survives_processes_that_die_and_every_other_image_is_read_once_in_order():
    data = opened(fates={0: dies("SIGSEGV"), 7: dies("SIGKILL"), 19: dies("SIGSEGV")}, on_error="skip")
    indices, batches = read(data)
    assert indices == [index for index in range(20) if index not in (0, 7, 19)]
    assert [len(batch) for batch in batches] == [2, 3, 2, 3, 3, 3, 1]
    reasons = {image.path: image.reason for batch in batches for image in batch.unreadable}
    assert reasons == {"0.png": "SIGSEGV", "7.png": "SIGKILL, as where memory is short", "19.png": "SIGSEGV"}
    assert sorted(data.unreadable) == [0, 7, 19]


def test_training_survives_too_and_draws_what_it_would_have_drawn():
    calm, shaken = (opened("fit", fates=fates, on_error="skip", **TRAINING) for fates in ({}, {7: dies("SIGSEGV")}))
    drawn = []
    for data in (calm, shaken):
        _, batches = read(data, data.train_dataloader())
        assert all([draw.index for draw in batch.draws] == batch.indices.tolist() for batch in batches)
        views = [zip(batch.indices.tolist(), batch.views["random"], strict=True) for batch in batches]
        drawn.append([(index, view.tolist()) for batch in views for index, view in batch])
    assert drawn[1] == [(index, view) for index, view in drawn[0] if index != 7]
    assert len(drawn[1]) == 18


class TestSeveralPasses:
    """Training goes through its images in processes that live as long as the loader."""

    def passes(self, loader, count):
        for epoch in range(count):
            loader.sampler.set_epoch(epoch)
            yield list(loader)

    def test_all_are_made_by_the_same_processes_and_are_what_others_would_have_made(self):
        kept, once = (opened("fit", num_workers=workers, **TRAINING).train_dataloader() for workers in (2, 0))
        seen = set()
        for batches, others in zip(self.passes(kept, 3), self.passes(once, 3), strict=True):
            assert_equal(batches, others)
            seen |= {process.pid for process in kept._iterator.workers}
        assert len(seen) == 2

    def test_an_image_that_a_process_died_of_costs_no_second_process(self):
        data = opened("fit", fates={7: dies("SIGSEGV")}, on_error="skip", **TRAINING)
        loader = data.train_dataloader()
        seen = []
        for batches in self.passes(loader, 3):
            assert sum(len(batch) for batch in batches) == 18
            seen.append({process.pid for process in loader._iterator.workers})
        assert seen[0] == seen[1] == seen[2]

    @pytest.mark.parametrize("disturb", [lambda loader: None, lambda loader: loader._iterator.workers[0].kill()])
    def test_one_that_was_left_midway_or_whose_process_is_gone_is_followed_by_a_whole_one(self, disturb):
        loader = opened("fit", **TRAINING).train_dataloader()
        whole = [batch.indices for batch in loader]
        next(iter(loader))
        disturb(loader)
        assert all(map(torch.equal, (batch.indices for batch in loader), whole))

    def test_their_processes_end_with_the_last_reference(self):
        before = active_children()
        gc.disable()  # which would end them some time
        try:
            loader = opened("fit", **TRAINING).train_dataloader()
            list(loader)
            assert len(active_children()) == len(before) + 2
            del loader
            assert active_children() == before
        finally:
            gc.enable()

    def test_their_processes_end_with_the_fit(self, tmp_path):
        class Learner(LightningModule):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(()))
                self.processes = []

            def training_step(self, batch, batch_idx):
                self.processes.append({process.pid for process in active_children()})
                return self.weight

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 0.1)

        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = Trainer(default_root_dir=tmp_path, enable_checkpointing=False, max_epochs=2, devices=1, **quiet)
        module, before = Learner(), {process.pid for process in active_children()}
        trainer.fit(module, train_dataloaders=opened("fit", **TRAINING).train_dataloader())
        assert all(len(pids - before) == 2 and pids == module.processes[0] for pids in module.processes)
        assert {process.pid for process in active_children()} == before


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_image_without_an_end_is_given_up(on_error, monkeypatch):
    monkeypatch.setattr(loading, "_LOOK_EVERY", 1)
    data = opened(fates={4: stands_still}, patience=1, on_error=on_error, count=6)
    if on_error == "raise":
        with pytest.raises(UserError, match=r"no end after 1 seconds\) at image 4.png: replace it"):
            read(data)
    else:
        indices, batches = read(data)
        assert indices == [0, 1, 2, 3, 5]
        assert [image.reason for image in batches[1].unreadable] == ["no end after 1 seconds"]


def test_a_process_that_dies_at_no_image_is_said_to():
    data = opened()
    loader = data.test_dataloader()
    iterator = iter(loader)
    next(iterator)
    time.sleep(0.5)
    for process in iterator.workers:
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.2)  # whatever runs between two batches is left alone
    with pytest.raises(UserError, match=r"ended \(SIGKILL, as where memory is short\) while it was at no image"):
        list(iterator)


def assert_equal(batches, others):
    for one, other in zip(batches, others, strict=True):
        for view, images in one.views.items():
            assert type(images) is type(other.views[view])
            assert all(map(torch.equal, images, other.views[view]))
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.indices, other.indices)
        assert all(torch.equal(count, other.encoded_bytes[view]) for view, count in one.encoded_bytes.items())
        assert all(torch.equal(sides, other.sizes[view]) for view, sides in one.sizes.items())


@pytest.mark.parametrize("seconds", [1e-9, 1e9], ids=["single images", "whole batches"])
def test_batches_that_several_processes_make_together_are_the_same(seconds, monkeypatch):
    monkeypatch.setattr(loading, "_PIECE", seconds)
    data = opened(fates={7: dies("SIGSEGV")}, on_error="skip", batch_size=8)
    indices, batches = read(data)
    assert indices == [index for index in range(20) if index != 7]
    assert [len(batch) for batch in batches] == [7, 8, 4]
    assert_equal(batches[1:], read(opened(batch_size=8, num_workers=0))[1][1:])


@pytest.mark.parametrize(
    ("count", "pieces"), [(6, [[0, 1, 2], [3, 4, 5]]), (1, [[0]])], ids=["several", "fewer than processes"]
)
def test_processes_share_the_images_of_a_first_batch_however_much_of_it_is_padding(count, pieces):
    loader = opened(count=count, batch_size=16).test_dataloader()
    watch = iter(loader)
    watch.progress = Progress(loader.num_workers)  # of the processes, which may have begun, none has finished
    cut = [*watch.cut()]
    assert [position for piece in cut for position in piece] == [*next(iter(loader.batch_sampler))]
    assert [[position for position in piece if position != PADDING] for piece in cut] == pieces


class TestSharedMemory:
    @pytest.fixture
    def full(self, monkeypatch):
        """Shared memory of which nothing is left."""
        free = type("Free", (), {"f_bavail": 0, "f_frsize": 4096})
        monkeypatch.setattr(os, "statvfs", lambda _: free)

    @pytest.mark.parametrize("sizes", ["equal", "mixed"])
    def test_batches_without_room_come_through_pipes_as_they_are(self, full, sizes, caplog, monkeypatch):
        if sizes == "mixed":
            monkeypatch.setattr(Fatal, "load", lambda self, i: ArraySource.load(self, i).resize((1 + i, 2)))
        piped, plain = read(opened())[1], read(opened(num_workers=0))[1]
        assert all(batch.by_pipe for batch in piped)
        assert_equal(piped, plain)
        [line] = [record.message for record in caplog.records]
        assert line.startswith("/dev/shm has 0 MB, too little for batches of this size")

    def test_batches_with_room_share_their_memory(self, caplog):
        _, batches = read(opened())
        assert not any(batch.by_pipe for batch in batches)
        assert not caplog.records

    def test_the_room_is_divided_among_all_batches_that_can_be_on_their_way(self, monkeypatch):
        pages = type("Free", (), {"f_bavail": 1000, "f_frsize": 4096})
        monkeypatch.setattr(os, "statvfs", lambda _: pages)
        iterator = iter(opened(num_workers=2, prefetch=3).test_dataloader())
        assert iterator.plain.dataset.room == 0.9 * 1000 * 4096 / (2 * 3 + 2)
        assert list(iterator)


def test_lightning_builds_the_loader_anew_for_predict_and_keeps_what_it_does(tmp_path):
    class Predictor(LightningModule):
        def predict_step(self, batch, batch_idx):
            return batch.indices.tolist()

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, enable_checkpointing=False, devices=1, **quiet)
    data = Dangerous(fates={7: dies("SIGSEGV")}, on_error="skip")
    steps = trainer.predict(Predictor(), datamodule=data)
    assert [index for step in steps for index in step] == [index for index in range(20) if index != 7]
    assert sorted(data.unreadable) == [7]


@pytest.mark.parametrize(
    ("code", "raises"),
    [
        ("_try_get_data -> get -> poll", True),
        ("_try_get_data -> get -> _shutdown_workers -> join", False),  # another iterator is collected meanwhile
        ("_try_get_data -> enter_context", False),  # it counts how many files it can open, and would lose one
        ("_try_get_data -> NamedTemporaryFile", False),
        ("training_step", False),
    ],
)
def test_a_death_is_raised_into_the_wait_for_a_batch_alone(code, raises):
    seen = []
    handler = child_deaths.WhileWaiting(lambda number, frame: seen.append(number))

    calls = code.split(" -> ")
    frames = {"dies": lambda: handler(signal.SIGCHLD, sys._getframe(1))}
    exec("\n".join(f"def {name}(): {callee}()" for name, callee in pairwise([*calls, "dies"])), frames)
    frames[calls[0]]()
    assert seen == [signal.SIGCHLD] * raises
