"""Front ends that restore pixels: the network, its fits and files, the classical one, and what a test says of them."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from safetensors.torch import save_file

from bench import RestorationTuning, ZeroShotEvaluation
from bench.clip.zero_shot import unit
from bench.fidelity import fidelity
from bench.finetuning import Consistency, RobustFineTuning, WholeTower
from bench.restoration import PixelError
from bench.restoration.choice import read_named
from bench.restoration.deblocking import Deblocking
from bench.restoration.files import metadata, read_restoration
from bench.restoration.network import Restoration, Shape
from bench.runs.folder import RunFolder
from callbacks import FineTuningWriter, ResultsWriter
from datamodules.errors import UserError
from datamodules.training import TrainingViews
from tests.support.checkpoints import VIT, build, save_safetensors, write_config
from tests.support.fits import Losses, Stop, few

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

SMALL = {"layers": 3, "channels": 4}
QUIET = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Options of a tiny ViT of 32 pixels, to which images of 96 are shrunk by the loader."""
    folder = tmp_path_factory.mktemp("clip")
    weights = save_safetensors(build(VIT), folder / "vit.safetensors")
    return {"encoder": write_config(folder, VIT), "pretrained": weights}


@pytest.fixture(scope="module", params=[PixelError(keep=0.1), Consistency(keep=0.1)], ids=["pixels", "encoder"])
def fitted(clip, tmp_path_factory, request):
    """A fit on four images at JPEG 10: its module, losses step by step and folder."""
    folder = tmp_path_factory.mktemp("fit")
    seed_everything(0, verbose=False)
    module = RestorationTuning(request.param, **SMALL, **clip, learning_rate=0.01)
    losses = Losses()
    writer = FineTuningWriter("front", alphas=[], export=[0.5])
    trainer = Trainer(
        max_epochs=20, check_val_every_n_epoch=20, default_root_dir=folder, callbacks=[losses, writer], **QUIET
    )
    trainer.fit(module, few(training_views=TrainingViews({"jpeg-{}": [10, 10]})))
    return module, losses.values, RunFolder(folder)


def random_network():
    torch.manual_seed(0)
    network = Restoration(Shape(**SMALL))
    torch.nn.init.normal_(network.residual[-1].weight, std=0.1)
    return network


def images(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class TestNetwork:
    def test_untrained_it_is_the_identity_bit_for_bit_in_any_size(self):
        network = Restoration(Shape(**SMALL))
        batch, several = images(4, 3, 9, 17), [images(3, 1, 1), images(3, 8, 5)]
        assert network.restore(batch).equal(batch)
        assert all(found.equal(one) for found, one in zip(network.restore(several), several, strict=True))
        pixels = torch.rand(2, 3, 6, 7)
        assert network(pixels).equal(pixels)

    def test_an_image_of_a_batch_is_restored_as_it_is_alone(self):
        """But for the last digit of float32, which may round the other way where a value lies between two bytes."""
        network, batch = random_network(), images(5, 3, 12, 9)
        whole, alone = network.restore(batch), torch.stack(network.restore(list(batch)))
        assert not whole.equal(batch)
        assert whole.dtype == alone.dtype == torch.uint8
        difference = (alone.int() - whole.int()).abs()
        assert difference.max() <= 1
        assert difference.sum() <= 0.01 * difference.numel()
        pixels = batch / 255
        assert torch.cat([network(image[None]) for image in pixels]).allclose(network(pixels), rtol=0, atol=1e-6)

    def test_a_shape_out_of_range_is_refused(self):
        with pytest.raises(UserError, match="`layers` 1 is out of range: choose from 2 to 32"):
            Shape(layers=1)


class TestFit:
    def test_its_objective_falls_and_the_encoder_stays_as_it_is(self, fitted):
        module, losses, _ = fitted
        assert sum(losses[-2:]) < 0.9 * sum(losses[:2])  # an epoch each
        before, after = module.original_state(), module.tuned_state()
        assert all(before[name].equal(after[name]) for name in before)

    @pytest.mark.parametrize("seen", ["original", "random"])
    def test_what_is_learnt_in_floating_point_is_what_bytes_show_but_for_their_rounding(self, fitted, seen):
        module, _, _ = fitted
        (batch, *_) = module.data.train_dataloader()
        pairs = module.pairs(batch)
        floating = unit(pairs.original if seen == "original" else pairs.degraded)
        exact = unit(module.student(batch.views[seen], seen))
        assert (floating * exact).sum(1).min() > 0.999
        assert floating.requires_grad
        assert not exact.requires_grad

    def test_the_exported_file_restores_as_the_network_does_and_predicts_what_the_fit_measured(self, fitted, clip):
        module, _, folder = fitted
        record = folder.finetuning_record()
        file = folder.path / "front.safetensors"
        network, sha256 = read_restoration(file)
        assert sha256 == record.exports[-1].sha256
        batch = images(3, 3, 20, 24)
        assert network.restore(batch).equal(module.restoration.restore(batch))
        assert not network.restore(batch).equal(batch)
        assert record.label_free
        assert record.method["trainable"] == {"name": "FrontEnd", **SMALL}
        assert "--model.restoration front.safetensors" in folder.card.read_text()
        held_out = few(split="train", limit=None, indices=list(module.data.validation_positions))
        tested = ZeroShotEvaluation(**clip, restoration=str(file))
        Trainer(**QUIET).test(tested, held_out, verbose=False)
        for view, measures in record.after.items():
            assert tested.measured[view].metrics["loss"] == pytest.approx(measures["loss"], abs=1e-5)

    def test_between_the_ends_lies_the_way_from_the_identity(self, fitted):
        _, _, folder = fitted
        half, _ = read_restoration(folder.path / "front-0.5.safetensors")
        whole, _ = read_restoration(folder.path / "front.safetensors")
        assert half.residual[-1].weight.equal(whole.residual[-1].weight / 2)

    def test_a_killed_and_resumed_fit_gives_the_weights_of_an_undisturbed_one(self, clip, tmp_path):
        def weights(folder, epochs, checkpoint=None):
            seed_everything(0, verbose=False)
            module = RestorationTuning(PixelError(), **SMALL, **clip)
            watch = ModelCheckpoint(tmp_path / folder, save_last=True)
            options = {**QUIET, "enable_checkpointing": True, "default_root_dir": tmp_path, "limit_val_batches": 0}
            Trainer(max_epochs=2, callbacks=[watch, Stop(epochs)], **options).fit(module, few(), ckpt_path=checkpoint)
            return module.ends()[1]

        undisturbed = weights("undisturbed", 2)
        with pytest.raises(SystemExit):
            weights("killed", 1)
        resumed = weights("killed", 2, tmp_path / "killed" / "last.ckpt")
        assert all(undisturbed[name].equal(resumed[name]) for name in undisturbed)

    def test_pixels_need_a_front_end(self, clip):
        module = RobustFineTuning(PixelError(), WholeTower(), **clip)
        with pytest.raises(UserError, match="PixelError needs a front end"):
            Trainer(max_epochs=1, **QUIET).fit(module, few())


def test_a_test_with_a_restoration_differs_from_one_without_and_says_so(clip, tmp_path, capsys):
    network, file = random_network(), tmp_path / "front.safetensors"
    save_file(network.state_dict(), file, metadata(network.shape, {}))
    found = {}
    for restoration in (None, str(file)):
        place = tmp_path / str(restoration is None)
        trainer = Trainer(default_root_dir=place, callbacks=[ResultsWriter()], **QUIET)
        trainer.test(ZeroShotEvaluation(**clip, restoration=restoration), few(), verbose=False)
        assert (" behind front.safetensors on synthetic" in capsys.readouterr().out) == (restoration is not None)
        found[restoration] = json.loads((place / "results.json").read_text())
    without, restored = found.values()
    assert "restoration" not in without["model"]
    assert restored["model"]["restoration"] == "front.safetensors"
    assert restored["model"]["restoration_sha256"] == read_restoration(file)[1]
    assert restored["model"]["weights_sha256"] == without["model"]["weights_sha256"]
    for view in ("original", "jpeg-25"):
        assert restored["metrics"][view]["loss"] != without["metrics"][view]["loss"]


def test_fidelity_is_of_the_restored_view_against_the_original_before(clip, tmp_path):
    network = random_network()
    file = tmp_path / "front.safetensors"
    save_file(network.state_dict(), file, metadata(network.shape, {}))
    data = few()
    module = ZeroShotEvaluation(**clip, restoration=str(file))
    Trainer(**QUIET).test(module, data, verbose=False)
    expected = []
    for batch in data.test_dataloader():
        expected += fidelity(batch.views["original"], network.restore(batch.views["jpeg-25"])).psnr.tolist()
    assert module.measured["jpeg-25"].metrics["psnr"] == pytest.approx(np.mean(expected), abs=1e-4)


class TestFiles:
    @pytest.fixture
    def write(self, tmp_path):
        def write(state=None, said=None, content=None):
            path = tmp_path / "front.safetensors"
            if content is not None:
                path.write_bytes(content)
                return path
            network = random_network()
            save_file({**network.state_dict(), **(state or {})}, path, metadata(network.shape, {}) | (said or {}))
            return path

        return write

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"state": {"residual.0.weight": torch.zeros(4, 3, 5, 5)}}, r"as float32 \[4, 3, 5, 5\] and not"),
            ({"state": {"residual.0.weight": torch.zeros(4, 3, 3, 3).half()}}, "as float16"),
            ({"state": {"residual.0.bias": torch.full((4,), torch.nan)}}, "not finite, first in residual.0.bias"),
            ({"state": {"more": torch.zeros(1)}}, "has more, which its network lacks"),
            ({"said": {"restoration": '{"layers": 4, "channels": 4}'}}, r"has residual.4.weight as"),
            ({"said": {"restoration": '{"layers": 9999999, "channels": 4}'}}, "layers 9999999 is out of range"),
            ({"said": {"restoration": '{"layers": true, "channels": 4}'}}, "declares the network"),
            ({"said": {"restoration": "[" * 5000}}, "declares the network"),
            ({"content": b"\x80\x04cos\nsystem\n(S'true'\ntR."}, "is no safetensors file"),
            ({"content": b"\xff" * 64}, "is no safetensors file"),
            ({"content": b""}, "is no safetensors file"),
        ],
    )  # fmt: skip
    def test_a_file_that_holds_anything_else_is_refused_in_one_line(self, write, changes, match):
        with pytest.raises(UserError, match=match) as error:
            read_restoration(write(**changes))
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 600

    def test_a_file_that_is_too_large_is_not_read(self, tmp_path):
        path = tmp_path / "front.safetensors"
        with path.open("wb") as file:
            file.truncate(2**30)
        with pytest.raises(UserError, match="has 1,073,741,824 bytes, more than any restoration needs"):
            read_restoration(path)

    def test_an_encoder_is_no_restoration(self, clip):
        with pytest.raises(UserError, match="does not say what its network looks like"):
            read_restoration(clip["pretrained"])


class TestDeblocking:
    def test_it_raises_the_psnr_of_a_gradient_at_jpeg_10(self):
        rows, columns = np.mgrid[:48, :40]
        original = np.stack([4 * rows, 3 * columns + 40, 200 - 2 * rows], 2).astype(np.uint8)
        with BytesIO() as file:
            Image.fromarray(original).save(file, format="JPEG", quality=10)
            degraded = np.array(Image.open(file))
        before, after = torch.from_numpy(original).permute(2, 0, 1)[None], torch.from_numpy(degraded).permute(2, 0, 1)
        restored = Deblocking(10).restore(after[None])
        gain = fidelity(before, restored).psnr - fidelity(before, after[None]).psnr
        assert gain.item() > 1
        assert torch.stack(Deblocking(10).restore([after])).equal(restored)

    def test_it_is_named_with_its_quality(self):
        assert read_named("deblock-10").said.describe() == {"restoration": "deblock-10"}
        with pytest.raises(UserError, match="choose a quality from 1 to 100"):
            read_named("deblock-0")
        with pytest.raises(UserError, match="`restoration` deblock lacks the quality"):
            read_named("deblock")
