"""Random views are a function of seed, epoch and image alone, drawn as asked."""

from collections import Counter

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageOps

from datamodules import Synthetic
from datamodules.degradations import Original
from datamodules.errors import UserError
from datamodules.training import RANDOM, LogUniform, TrainingViews, Uniform
from datamodules.views import Draw

JPEG = {"jpeg-{}": [10, 90]}


def pairs(**options):
    """Pixels of the original and the random view by image index, of one epoch."""
    epoch = options.pop("epoch", 0)
    views = options.pop("views", TrainingViews(JPEG, clean=0.2, flip=0.5))
    data = Synthetic(**{"degradations": [], "limit": 40, "batch_size": 7, "training_views": views, **options})
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return {
        int(index): (original, degraded)
        for batch in loader
        for index, original, degraded in zip(batch.indices, batch.views["original"], batch.views[RANDOM], strict=True)
    }


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(a, b) for index in one for a, b in zip(one[index], other[index], strict=True)
    )


def test_loader_processes_change_nothing():
    assert equal(pairs(num_workers=0), pairs(num_workers=2))


def test_batches_change_nothing():
    assert equal(pairs(num_workers=0), pairs(num_workers=0, batch_size=40))


@pytest.mark.parametrize("changed", [{"epoch": 1}, {"seed": 1}])
def test_another_epoch_or_seed_draws_other_views_of_the_same_images(changed):
    one, other = pairs(num_workers=0), pairs(num_workers=0, **changed)
    assert one.keys() == other.keys()
    assert sum(torch.equal(one[index][1], other[index][1]) for index in one) < len(one) / 3


def test_a_pair_is_the_source_image_perhaps_mirrored_and_what_pillow_makes_of_that():
    views = TrainingViews(JPEG, clean=0.2, flip=0.5)
    data = Synthetic(degradations=[], limit=40, num_workers=0)
    data.setup("fit")
    mirrors = 0
    for index, (original, degraded) in pairs(num_workers=0, epoch=3, views=views).items():
        degradation, mirrored = views.draw(0, 3, index)
        image = data._sources["train"].load(index)
        image = ImageOps.mirror(image) if mirrored else image
        assert np.array_equal(original.permute(1, 2, 0), np.asarray(image))
        assert np.array_equal(degraded.permute(1, 2, 0), np.asarray(degradation(image).image))
        mirrors += mirrored
    assert 8 <= mirrors <= 28  # of 36, each with probability 1/2


def test_held_out_images_are_never_trained_on():
    data = Synthetic(limit=40, validation_every=10, training_views=TrainingViews(JPEG), num_workers=0)
    data.setup("fit")
    held_out = {int(index) for batch in data.val_dataloader() for index in batch.indices}
    assert held_out == {0, 10, 20, 30} == set(data.validation_positions)
    assert pairs(num_workers=0, validation_every=10).keys() == set(range(40)) - held_out
    assert data.training_labels().total() == 36


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_batch_says_in_host_memory_what_was_drawn_for_each_of_its_images(num_workers):
    views = TrainingViews(JPEG, clean=0.2, flip=0.5)
    data = Synthetic(degradations=[], limit=40, batch_size=7, training_views=views, num_workers=num_workers, seed=3)
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(2)
    for batch in loader:
        drawn = [views.draw(3, 2, index) for index in batch.indices.tolist()]
        expected = [Draw(2, *rest) for rest in zip(batch.indices.tolist(), *names_and_mirrors(drawn), strict=True)]
        assert batch.to("meta").draws == batch.draws == expected


def names_and_mirrors(drawn):
    return [degradation.name for degradation, _ in drawn], [mirrored for _, mirrored in drawn]


def test_two_ranks_draw_what_one_does(monkeypatch):
    whole = pairs(num_workers=0)
    shared = {}
    for rank in range(2):
        monkeypatch.setattr(Synthetic, "_place", lambda self, rank=rank: (2, rank))
        shared |= pairs(num_workers=0)
    assert equal(whole, shared)


class Epochs(LightningModule):
    """Notes the random views of each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = [{}, {}]

    def training_step(self, batch, batch_idx):
        pixels = zip(batch.indices.tolist(), batch.views["original"], batch.views[RANDOM], strict=True)
        self.seen[self.current_epoch] |= {index: views for index, *views in pixels}
        return 0 * self.weight

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_lightning_tells_the_sampler_its_epoch(tmp_path):
    module = Epochs()
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, limit_val_batches=0, log_every_n_steps=1,
    )  # fmt: skip
    views = TrainingViews(JPEG, clean=0.2, flip=0.5)
    trainer.fit(module, datamodule=Synthetic(degradations=[], limit=40, num_workers=0, training_views=views))
    for epoch, seen in enumerate(module.seen):
        assert equal(seen, pairs(num_workers=0, epoch=epoch))


class TestDraws:
    def drawn(self, views, count=4000):
        return [views.draw(0, 0, index) for index in range(count)]

    def test_codecs_shares_and_ranges_are_those_asked_for(self):
        views = TrainingViews({"jpeg-{}": [10, 19], "webp-{}": [50, 50], "jpeg-{}-444": [90, 95]}, clean=0.25, flip=0.5)
        drawn = self.drawn(views)
        names = Counter(degradation.name for degradation, _ in drawn)
        shares = {
            "clean": names["original"],
            "jpeg": sum(names[f"jpeg-{quality}"] for quality in range(10, 20)),
            "webp": names["webp-50"],
            "444": sum(names[f"jpeg-{quality}-444"] for quality in range(90, 96)),
        }
        assert sum(shares.values()) == 4000
        assert list(shares.values()) == pytest.approx([1000] * 4, abs=5 * np.sqrt(4000 * 0.25 * 0.75))
        assert sum(mirrored for _, mirrored in drawn) == pytest.approx(2000, abs=5 * np.sqrt(1000))

    def test_uniform_qualities_are_equally_frequent(self):
        names = Counter(degradation.name for degradation, _ in self.drawn(TrainingViews(JPEG), 8100))
        assert set(names) == {f"jpeg-{quality}" for quality in range(10, 91)}
        chi_squared = sum((count - 100) ** 2 / 100 for count in names.values())
        assert chi_squared < 80 + 5 * np.sqrt(160)

    def test_log_uniform_octaves_are_equally_frequent(self):
        qualities = [
            degradation.quality
            for degradation, _ in self.drawn(TrainingViews({"jpeg-{}": [10, 79]}, law=LogUniform()), 3000)
        ]
        octaves = Counter(int(np.log2(quality / 10)) for quality in qualities)
        assert set(octaves) == {0, 1, 2}
        assert list(octaves.values()) == pytest.approx([1000] * 3, abs=5 * np.sqrt(667))

    @pytest.mark.parametrize("law", [Uniform(), LogUniform()])
    def test_both_ends_of_a_range_can_be_drawn_and_nothing_else(self, law):
        shares = np.linspace(0, 1, 10_000, endpoint=False)
        assert {law.quality(3, 7, share) for share in shares} == {3, 4, 5, 6, 7}
        assert law.quality(3, 7, np.nextafter(1, 0)) == 7

    def test_a_curriculum_begins_with_the_best_qualities_and_ends_with_all_of_them(self):
        views = TrainingViews({"jpeg-{}": [20, 80]}, curriculum=3)

        def worst(epoch):
            return min(views.draw(0, epoch, index)[0].quality for index in range(2000))

        assert [worst(epoch) for epoch in (0, 1, 2, 9)] == [60, 40, 20, 20]

    def test_the_clean_only_control_never_degrades(self):
        drawn = self.drawn(TrainingViews(JPEG, clean=1.0), 300)
        assert drawn == [(Original(), False)] * 300

    def test_a_control_sees_the_same_images_mirrored_in_the_same_way(self):
        views, control = TrainingViews(JPEG, flip=0.5), TrainingViews(JPEG, flip=0.5, clean=1.0)
        assert [m for _, m in self.drawn(views, 300)] == [m for _, m in self.drawn(control, 300)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codecs": {}}, "codecs` is empty"),
        ({"codecs": {"jpeg-25": [10, 90]}}, "'jpeg-25' needs exactly one {}"),
        ({"codecs": {"jpeg-{}": [90, 10]}}, r"\[90, 10\] is no range for jpeg-{}"),
        ({"codecs": {"jpeg-{}": [10]}}, r"\[10\] is no range"),
        ({"codecs": {"jpeg-{}": [10, 101]}}, "101"),
        ({"codecs": {"jpg-{}": [10, 90]}}, "unknown degradation"),
        ({"codecs": {"webp-{}": [0, 90]}, "law": LogUniform()}, "is no range"),
        ({"codecs": JPEG, "clean": 1.1}, "`clean` 1.1 is out of range"),
        ({"codecs": JPEG, "flip": -0.1}, "`flip` -0.1 is out of range"),
        ({"codecs": JPEG, "curriculum": -1}, "`curriculum` -1 is out of range"),
    ],
)
def test_bad_draws_are_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as error:
        TrainingViews(**options)
    assert "\n" not in str(error.value)


def test_an_unreadable_training_image_is_reported_not_raised():
    class Broken(Synthetic):
        def source(self, split):
            source = super().source(split)
            load = source.load
            source.load = lambda index: Image.open("missing.png") if index == 3 else load(index)
            return source

    data = Broken(degradations=[], limit=11, batch_size=11, num_workers=0, training_views=TrainingViews(JPEG))
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert [image.index for image in batch.unreadable] == [3]
    assert len(batch) == 8
    assert [draw.index for draw in batch.draws] == batch.indices.tolist()
