import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.sources import ArraySource


class Numbered(DegradedDataModule):
    """Image i of a split is filled with i; the train split has 23 images, the test split 10."""

    dataset_name = "numbered"

    def __init__(self, **kwargs):
        super().__init__(**{"num_workers": 0, "degradations": [], "batch_size": 4, **kwargs})
        self.opened = []

    def source(self, split):
        self.opened.append(split)
        count = {"train": 23, "test": 10}[split]
        images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
        return ArraySource(images, [0] * count, [f"{split} class", "no image's class"])


def opened(stage="test", **options):
    data = Numbered(**options)
    data.setup(stage)
    return data


def indices(loader):
    return [index for batch in loader for index in batch.indices.tolist()]


class Recorder(LightningModule):
    """Notes which images each step sees, by their pixels, and trains nothing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"fit": [], "validate": [], "test": [], "predict": []}

    def note(self, stage, batch):
        self.seen[stage] += batch.views["original"][:, 0, 0, 0].tolist()

    def training_step(self, batch, batch_idx):
        self.note("fit", batch)
        return 0 * self.weight

    def validation_step(self, batch, batch_idx):
        self.note("validate", batch)

    def test_step(self, batch, batch_idx):
        self.note("test", batch)

    def predict_step(self, batch, batch_idx):
        self.note("predict", batch)
        return batch.indices

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(tmp_path, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=tmp_path, enable_checkpointing=False, **quiet, **options)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # and need not have
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated")  # between Lightning and torch
class TestUnderATrainer:
    @pytest.mark.parametrize("stage", ["test", "predict"])
    def test_every_image_is_seen_once_in_order(self, tmp_path, stage):
        model = Recorder()
        getattr(trainer(tmp_path), stage)(model, datamodule=Numbered())
        assert model.seen[stage] == list(range(10))

    def test_fitting_sees_the_kept_images_and_validates_on_the_held_out_ones(self, tmp_path):
        model = Recorder()
        fitting = trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0)
        fitting.fit(model, datamodule=Numbered(validation_every=5))
        held_out = [0, 5, 10, 15, 20]
        first, second = model.seen["fit"][:18], model.seen["fit"][18:]
        assert model.seen["validate"] == held_out * 2
        assert sorted(first) == sorted(second) == sorted({*range(23)} - {*held_out})
        assert first != second

    def test_the_seed_decides_the_order_of_training(self, tmp_path):
        orders = []
        for seed in (1, 1, 2**63 - 1):
            model = Recorder()
            trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(model, datamodule=Numbered(seed=seed))
            orders.append(model.seen["fit"])
        assert orders[0] == orders[1] != orders[2]

    def test_an_image_that_cannot_be_read_ends_the_run(self, tmp_path):
        data = Numbered(degradations=["jpeg-5"])
        data.setup("test")
        data._sources["test"].images = np.zeros((10, 1, 65501, 3), dtype=np.uint8)
        with pytest.raises(UserError, match=r"image number 0 cannot be read \(ValueError: 65501 x 1 pixels"):
            trainer(tmp_path).test(Recorder(), datamodule=data)


class TestSelection:
    @pytest.mark.parametrize(
        ("options", "wanted"),
        [
            ({}, list(range(10))),
            ({"limit": 3}, [0, 1, 2]),
            ({"limit": 99}, list(range(10))),
            ({"every": 4}, [0, 4, 8]),
            ({"every": 4, "limit": 2}, [0, 4]),
            ({"indices": [7, 2, 9]}, [7, 2, 9]),
            ({"indices": [7, 2, 9], "limit": 2}, [7, 2]),
        ],
    )
    def test_limit_every_and_indices_choose_images(self, options, wanted):
        data = opened(**options)
        assert indices(data.test_dataloader()) == indices(data.predict_dataloader()) == wanted
        assert data.describe()["images_selected"] == len(wanted)

    @pytest.mark.parametrize("index", [-1, 10])
    def test_an_index_outside_the_split_is_refused(self, index):
        with pytest.raises(UserError, match=f"`indices` has {index}, but the split holds images 0 to 9"):
            opened(indices=[3, index])

    @pytest.mark.parametrize("options", [{}, {"limit": 7}, {"every": 3}, {"indices": [5, 3, 1, 2, 0]}])
    @pytest.mark.parametrize("held_out", [2, 3, 10])
    def test_held_out_images_and_the_others_make_up_the_selection(self, options, held_out):
        data = opened("fit", validation_every=held_out, **options)
        kept, held = indices(data.train_dataloader()), indices(data.val_dataloader())
        assert not set(kept) & set(held)
        assert sorted(kept + held) == sorted(data.selection.of(23))

    def test_one_image_is_too_few_to_fit_on(self):
        with pytest.raises(UserError, match="leaves none to fit on"):
            opened("fit", limit=1).train_dataloader()


class TestStages:
    @pytest.mark.parametrize(
        ("stage", "split"), [("fit", "train"), ("validate", "train"), ("test", "test"), ("predict", "test")]
    )
    def test_a_stage_opens_only_the_split_it_needs_and_only_once(self, stage, split):
        data = opened(stage)
        data.setup(stage)
        assert data.opened == [split]
        assert data.class_names[0] == f"{split} class"
        assert data.describe()["split"] == split
        assert data.labelled

    def test_the_train_split_can_be_tested(self):
        assert len(indices(opened(split="train").test_dataloader())) == 23

    def test_the_last_stage_set_up_is_the_one_described(self):
        data = opened("test")
        data.setup("fit")
        assert data.class_names[0] == "train class"
        data.setup("test")
        assert data.class_names[0] == "test class"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"batch_size": 0}, "--data.batch_size 0 is out of range: choose at least 1"),
        ({"num_workers": -1}, "--data.num_workers -1 is out of range: choose at least 0"),
        ({"prefetch": 0}, "--data.prefetch 0 is out of range: choose at least 1"),
        ({"limit": 0}, "--data.limit 0 is out of range: choose at least 1"),
        ({"every": 0}, "--data.every 0 is out of range: choose at least 1"),
        ({"validation_every": 1}, "--data.validation_every 1 is out of range: choose at least 2"),
        ({"seed": -1}, "--data.seed -1 is out of range: choose 0 to 2**63 - 1"),
        ({"seed": 2**63}, "--data.seed 9223372036854775808 is out of range: choose 0 to 2**63 - 1"),
        ({"every": 2, "indices": [1]}, "--data.every and --data.indices exclude each other: leave one of them out"),
        ({"indices": []}, "--data.indices is empty: list at least one position"),
        ({"indices": [1, 2, 1]}, "--data.indices lists 1 twice: list each position once"),
        ({"split": "val"}, "--data.split 'val' is unknown: choose train or test"),
        ({"on_error": "ignore"}, "--data.on_error 'ignore' is unknown: choose raise or skip"),
        ({"degradations": ["jpeg-0"]}, "degradation 'jpeg-0': JPEG quality 0 is out of range, choose 1 to 100"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_mend(options, complaint):
    with pytest.raises(UserError) as caught:
        Numbered(**options)
    assert caught.value.on_command_line() == complaint
    assert "--" not in str(caught.value)


def test_chosen_images_come_with_chosen_views_one_after_the_other():
    data = opened(degradations=["jpeg-75", "jpeg-50"])
    assert [list(sample.views) for sample in data.views_of([3]).samples()] == [["original", "jpeg-75", "jpeg-50"]]
    samples = data.views_of([7, 2], ["jpeg-50"]).samples()
    first = next(samples)
    assert (first.index, list(first.views)) == (7, ["original", "jpeg-50"])
    assert [sample.index for sample in samples] == [2]


@pytest.mark.parametrize("prefetch", [1, 3])
def test_workers_make_so_many_batches_ahead(prefetch):
    assert opened(num_workers=2, prefetch=prefetch).test_dataloader().prefetch_factor == prefetch


def test_workers_share_the_cores_of_the_machine(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    data = Numbered(num_workers=None)
    assert data.workers == 6
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert data.workers == 8
    data.trainer = type("FourProcesses", (), {"num_devices": 16})()
    assert data.workers == 4
