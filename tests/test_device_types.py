"""Whatever computes on the model's device keeps to what a device without float64 has, such as Apple's MPS."""

from contextlib import nullcontext

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from bench import LinearCorrection, RobustFineTuning, ZeroShotEvaluation
from bench.adaptation.entropy import Stream, Tent
from bench.attribution import First
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning import Augment, Consistency, LastBlocks, LogitDistillation, LoRA, Norms, Sum, WholeTower
from callbacks import (
    ExponentialAverage,
    FineTuningWriter,
    IntegratedGradients,
    ResultsWriter,
    TensorBoardReport,
    finetuning_writer,
)
from datamodules import Synthetic
from tests.support.checkpoints import RESNET, VIT, build, save_safetensors, write_config
from tests.support.devices import DEVICE, DeviceError, no_float64_on_the_device
from tests.support.fits import few
from tests.support.toys import RULES


class TestTheModeCanFail:
    @pytest.mark.parametrize(
        ("compute", "says"),
        [
            (lambda x: x.double(), "_to_copy makes torch.float64"),
            (lambda x: x.to(torch.float64), "_to_copy makes torch.float64"),
            (lambda x: torch.zeros(2, dtype=torch.float64, device=x.device), "zeros makes torch.float64"),
            (lambda x: x.new_zeros(2, dtype=torch.float64), "new_zeros makes torch.float64"),
            (lambda x: torch.ones(2, dtype=torch.float64).to(x.device), "makes torch.float64"),
            (lambda x: (x + 1)[:1].sum(dtype=torch.float64), "sum makes torch.float64"),
            (lambda x: x.numpy(), "numpy()"),
            (lambda x: x + torch.ones(2), "add has tensors of the device and of the host"),
            (lambda x: torch.linalg.eigh(torch.outer(x, x)), "_linalg_eigh is not implemented"),
            (lambda x: torch.unique(torch.outer(x, x), dim=0), "unique_dim is not implemented"),
        ],
    )
    def test_what_the_device_lacks_is_refused(self, compute, says):
        with no_float64_on_the_device(), pytest.raises(DeviceError) as error:
            compute(torch.ones(2).to(DEVICE))
        assert says in str(error.value)

    def test_weights_and_what_they_compute_lie_on_the_device(self):
        with no_float64_on_the_device():
            layer = torch.nn.Linear(2, 2).to(DEVICE)
            found = layer(torch.ones(1, 2, device=DEVICE))
            assert found.device == layer.weight.device == DEVICE
            with pytest.raises(DeviceError):
                found.double()
            found.sum().backward()
            with pytest.raises(DeviceError):
                layer.weight.grad.double()

    def test_the_host_has_float64_and_a_copy_on_the_host_is_the_hosts(self):
        with no_float64_on_the_device():
            there = torch.ones(2).to(DEVICE)
            for here in (there.cpu(), there.to("cpu")):
                assert here.device == torch.device("cpu")
                assert here.double().dtype == torch.float64
                assert here.numpy().tolist() == [1, 1]
            assert there.tolist() == [1, 1]
            assert there.sum().item() == 2


QUIET = {"devices": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
FITS = [
    *((Augment(), trainable) for trainable in (WholeTower(), LastBlocks(1), Norms(), LoRA(2))),
    (Sum([Augment(), Consistency(), LogitDistillation()], [1.0, 1.0, 1.0]), WholeTower()),
]


@pytest.fixture(scope="module", params=[VIT, RESNET], ids=["vit", "resnet"])
def encoder(request, tmp_path_factory):
    """Options of a tiny CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    weights = save_safetensors(build(request.param), folder / "weights.safetensors")
    return {"encoder": write_config(folder, request.param), "pretrained": weights}


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """Options of a tiny ViT."""
    folder = tmp_path_factory.mktemp("vit")
    return {"encoder": write_config(folder, VIT), "pretrained": save_safetensors(build(VIT), folder / "v.safetensors")}


class Where(Callback):
    """Makes sure that there is a device to speak of."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        assert pl_module.device == next(pl_module.model.parameters()).device == DEVICE

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        assert pl_module.device == batch.labels.device == pl_module.classifier.text.device == DEVICE

    on_predict_batch_start = on_test_batch_start


def data():
    return Synthetic(size="both", num_workers=0, batch_size=3, limit=11, degradations=["jpeg-20", "webp-10"])


class TestRuns:
    def test_evaluation_with_attributions_and_all_its_files(self, encoder, tmp_path):
        callbacks = [
            Where(),
            IntegratedGradients(First(2), figures=0, save_maps=True),
            ResultsWriter(),
            TensorBoardReport(),
        ]
        logger = TensorBoardLogger(tmp_path, name="", default_hp_metric=False)
        with no_float64_on_the_device():
            trainer = Trainer(**QUIET, logger=logger, callbacks=callbacks)
            trainer.test(ZeroShotEvaluation(**encoder), data())
        assert list(tmp_path.rglob("results.json"))
        assert list(tmp_path.rglob("table.csv"))

    def test_prediction(self, vit, tmp_path):
        with no_float64_on_the_device():
            trainer = Trainer(**QUIET, logger=False, default_root_dir=tmp_path, callbacks=[Where(), ResultsWriter()])
            trainer.predict(ZeroShotEvaluation(**vit), data())
        assert list(tmp_path.rglob("images.csv"))

    def test_adaptation_while_testing(self, vit):
        images = torch.zeros(2, 3, 40, 32, dtype=torch.uint8)
        with no_float64_on_the_device():
            classifier = ZeroShotClassifier(load_encoder(**vit), "abc", ["{}"]).to(DEVICE)
            with torch.inference_mode():
                stream = Stream(classifier, Tent())
                assert [stream.embed(classifier.preprocess(images.to(DEVICE))).device for _ in range(2)] == [DEVICE] * 2

    @pytest.mark.parametrize("rule", RULES, ids=str)
    def test_each_quadrature_rule(self, vit, rule):
        pixels = torch.rand(4, 3, *[load_encoder(**vit).image_size] * 2, generator=torch.Generator().manual_seed(0))
        with no_float64_on_the_device():
            classifier = ZeroShotClassifier(load_encoder(**vit), "abc", ["{}"]).to(DEVICE)
            start, end, labels = pixels[:2].to(DEVICE), pixels[2:].to(DEVICE), torch.arange(2).to(DEVICE)
            found = integrated_gradients(cross_entropy(classifier.pixel_logits), start, end, labels, rule)
            assert found.attribution.device == found.error_estimate.device == DEVICE
            assert found.evaluations.min() > 0


class TestFits:
    @pytest.mark.parametrize(("objective", "trainable"), FITS, ids=lambda part: type(part).__name__)
    def test_each_objective_and_choice_of_what_is_trained(self, vit, objective, trainable, tmp_path):
        with no_float64_on_the_device():
            trainer = Trainer(
                **QUIET,
                logger=False,
                default_root_dir=tmp_path,
                max_epochs=1,
                gradient_clip_val=1.0,
                callbacks=[Where(), ExponentialAverage(0.5)],
                num_sanity_val_steps=0,
                enable_checkpointing=False,
            )
            trainer.fit(RobustFineTuning(**vit, objective=objective, trainable=trainable), few())
        assert trainer.global_step == 2

    @pytest.mark.parametrize("where", [nullcontext, no_float64_on_the_device], ids=["host", "device"])
    def test_what_it_leaves_is_measured_where_it_was_fitted(self, vit, tmp_path, where, monkeypatch):
        measured_on, measure = [], finetuning_writer.validate

        def validate(classifier, batches, device):
            measured_on.append((device, classifier.text.device, next(classifier.parameters()).device))
            return measure(classifier, batches, device)

        monkeypatch.setattr(finetuning_writer, "validate", validate)
        with where():
            logger = TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False)
            writer = FineTuningWriter("tuned", alphas=[0.5])
            trainer = Trainer(**QUIET, logger=logger, max_epochs=1, callbacks=[writer], log_every_n_steps=1)
            module = RobustFineTuning(**vit, objective=Augment(), trainable=Norms())
            trainer.fit(module, few())
            here = DEVICE if where is no_float64_on_the_device else torch.device("cpu")
            assert measured_on == [(here,) * 3] * 3  # the original, half way, tuned
            assert module.device == torch.device("cpu"), "Lightning leaves it there, too"

    def test_the_linear_correction(self, encoder, tmp_path):
        with no_float64_on_the_device():
            trainer = Trainer(
                **QUIET,
                logger=False,
                default_root_dir=tmp_path,
                max_epochs=1,
                num_sanity_val_steps=0,
                enable_checkpointing=False,
                callbacks=[Where()],
            )
            trainer.fit(LinearCorrection(**encoder), few())
