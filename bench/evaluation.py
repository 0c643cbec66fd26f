"""Zero-shot evaluation of a frozen CLIP on images and their degraded views."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from bench.clip.allocation import keep_freed_memory
from bench.clip.compilation import compiler, pays
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier, check_templates
from bench.fidelity import bits_per_pixel, fidelity
from bench.metrics import ViewMetrics
from bench.outcomes import Outcomes
from bench.paper import TEMPLATE
from bench.runs.gathering import gather
from datamodules.base import DegradedDataModule
from datamodules.cores import usable_cores
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.views import Batch, Unreadable

_MIXED = ("16-mixed", "bf16-mixed")
_CHANGED_BY_ROUNDING = 0.02  # share of predictions above which it is more than a remark
_ROUNDING = ("bf16-true", "16-true", "transformer-engine", "transformer-engine-float16")


@dataclass(frozen=True)
class WholeRun:
    """Outcomes of all images by view, each view with the same images sorted by index; and images that had none."""

    outcomes: dict[str, Outcomes]
    skipped: list[Unreadable]


class ZeroShotEvaluation(LightningModule):
    """Classifies every view of every image; `test_step` and `predict_step` return outcomes by view name.

    Args:
        encoder: One of the paper's encoders (`RN50` ... `ViT-L/14@336px`), any open_clip model, `hf-hub:<repository>`,
            or the path of a model config (JSON).
        pretrained: A tag that open_clip knows for the encoder, or a file: safetensors, state dict, TorchScript archive.
        activation: The activation the weights were trained with, for weight files that do not say it themselves.
        templates: Prompts with `{}` for the class name; several are ensembled.
        normalise: Whether the encoder sees pixels normalised with the mean and standard deviation it was trained with.
            Without, results are worse; it is there to follow the Integrated Gradients code of Chen, Namboodiri and
            Padget (2023).
        fidelity: Whether PSNR and SSIM of the views are measured, which takes about half a second per megapixel and
            view on one CPU core: little for thumbnails, much for photographs.
        compile: Whether the encoder is compiled, which changes the last digits; "auto" does so on CPUs, where there is
            a C++ compiler and the run is long enough to pay for it.

    Raises:
        UserError: The encoder, its weights or the prompts are unusable.
    """

    classifier: ZeroShotClassifier
    view_metrics: nn.ModuleList  # in the order of the views; names with a dot could not be keys of a ModuleDict

    def __init__(
        self,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] = (TEMPLATE,),
        normalise: bool = True,
        fidelity: bool = True,
        compile: bool | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_templates(templates)
        loaded = load_encoder(encoder, pretrained, activation)
        self.encoder = loaded if normalise else replace(loaded, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.templates, self.fidelity, self.compile_choice = tuple(templates), fidelity, compile
        self.measured: dict[str, dict[str, Tensor]] = {}
        self.parts: list[dict[str, Outcomes]] = []
        self.skipped: list[Unreadable] = []
        self._whole: WholeRun | None = None
        self._gathered = False
        self._pays: bool | None = None
        self._unchecked = True

    @property
    def data(self) -> DegradedDataModule:
        """The data module, which owns class names and views.

        Raises:
            UserError: The data module is of another kind.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, DegradedDataModule):
            raise UserError(f"--data {type(data).__name__} has no degraded views: choose a class of `datamodules`")
        return data

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse a precision that would round the model; see `bench.cli.Checks`."""
        if trainer.precision in _ROUNDING:
            raise UserError(
                f"--trainer.precision {trainer.precision} rounds the weights, the logit scale and the text classifier: "
                "use bf16-mixed or 16-mixed"
            )

    def setup(self, stage: str) -> None:
        """Build the text classifier for the data's class names, and metrics for its views; forget earlier runs."""
        self.check_run(self.trainer, self.data)
        names = self.data.class_names
        labelled = self.data.labelled
        self._pays, self._unchecked = None, True
        if self.trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        self.classifier = ZeroShotClassifier(self.encoder, names, self.templates)
        if self.compiles():
            self.classifier.compile_encoder()
        self.view_metrics = nn.ModuleList(
            ViewMetrics(len(names), labelled=labelled, paired=view != ORIGINAL) for view in self.data.views
        )
        self.measured, self.parts, self.skipped = {}, [], []
        self._whole, self._gathered = None, False

    def describe(self) -> dict[str, Any]:
        """What a result record says about the model: JSON-able."""
        return {
            **self.encoder.provenance(),
            "templates": list(self.templates),
            "precision": self.trainer.precision,
            "fidelity": self.fidelity,
            "compiled": self.compiles(),
        }

    def compiles(self) -> bool:
        """Whether this run's encoder is to be compiled: on any number of processes the same answer."""
        if self.compile_choice != "auto":
            return self.compile_choice
        if self._pays is None:
            views = len(self.data.positions) * len(self.data.views)
            on_cpu = self.trainer.strategy.root_device.type == "cpu"
            self._pays = on_cpu and pays(views * self.encoder.flops(), usable_cores())
            if self._pays and compiler() is None:
                rank_zero_info("no C++ compiler is found, so the encoder is not compiled: it would be faster")
                self._pays = False
        return self._pays

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Outcomes]:
        """Classify a batch and update the metrics."""
        return self._classify(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Outcomes]:
        """Classify a batch of images with or without labels, and update what can be measured."""
        return self._classify(batch)

    def _classify(self, batch: Batch) -> dict[str, Outcomes]:
        outcomes = {view: self._outcomes(batch, view) for view in batch.views}
        if self._unchecked and len(batch) and self.trainer.precision in _MIXED:
            self._unchecked = False
            self._compare_with_float32(batch, outcomes)
        self.skipped += batch.unreadable
        self.take_in(outcomes)
        return outcomes

    def _compare_with_float32(self, batch: Batch, outcomes: dict[str, Outcomes]) -> None:
        """Say how many predictions of a batch a mixed precision changes."""
        with torch.autocast(self.device.type, enabled=False):
            logits = {
                view: self.classifier.pixel_logits(self.classifier.pixels(of)) for view, of in batch.views.items()
            }
        changed = sum(int((outcomes[view].prediction != exact.argmax(1)).sum()) for view, exact in logits.items())
        count = len(batch) * len(logits)
        say = rank_zero_info if changed <= _CHANGED_BY_ROUNDING * count else rank_zero_warn
        say(f"{self.trainer.precision} changes {changed} of the first {count} predictions ({changed / count:.1%})")

    def _outcomes(self, batch: Batch, view: str) -> Outcomes:
        images, originals, encoded_bytes = batch.views[view], batch.views[ORIGINAL], batch.encoded_bytes[view]
        rows = Outcomes.from_logits(self.classifier(images), batch.labels, batch.indices, encoded_bytes)
        rows = replace(rows, bits_per_pixel=bits_per_pixel(encoded_bytes, originals))
        if self.fidelity and view != ORIGINAL:
            rows = replace(rows, **fidelity(originals, images)._asdict())
        return rows

    def take_in(self, outcomes: dict[str, Outcomes]) -> None:
        """Add outcomes by view, fresh or read back from an interrupted run, to the metrics and to `parts`."""
        self.parts.append({view: rows.to("cpu") for view, rows in outcomes.items()})
        for view, metrics in self._metrics():
            metrics.update(outcomes[view].to(self.device), outcomes[ORIGINAL].to(self.device))

    def merge_parts(self) -> None:
        """Hold what grows in one piece: small tensors that stay where large ones come and go break up the heap."""
        for _, metrics in self._metrics():
            metrics.merge()
        self.parts = [{view: Outcomes.concatenate([part[view] for part in self.parts]) for view in self.data.views}]

    def whole_run(self) -> WholeRun | None:
        """The outcomes of all processes on the first one, None on the others.

        A collective call, once all batches are through; asking again costs nothing.
        """
        if not self._gathered:
            self._gathered = True
            self.merge_parts()
            (own,) = self.parts
            ranks = gather((own, self.skipped))
            if ranks:
                whole = {view: Outcomes.concatenate([rank[0][view] for rank in ranks]).unique() for view in own}
                skipped = sorted((image for rank in ranks for image in rank[1]), key=lambda image: image.index)
                self._whole = WholeRun(whole, skipped)
        return self._whole

    def on_test_epoch_end(self) -> None:
        """Compute over all processes; scalars are logged as `test/<metric>/<view>`."""
        self._measure()
        scalars = {
            f"test/{name}/{view}": value
            for view, values in self.measured.items()
            for name, value in values.items()
            if value.ndim == 0
        }
        self.log_dict(scalars, sync_dist=True)  # equal on every process; Lightning warns unless it may average them

    def on_predict_epoch_end(self) -> None:
        """Compute over all processes; Lightning logs nothing while it predicts."""
        self._measure()

    def _measure(self) -> None:
        self.measured = {view: metrics.compute() for view, metrics in self._metrics()}

    def _metrics(self) -> Iterator[tuple[str, ViewMetrics]]:
        return zip(self.data.views, cast(Iterable[ViewMetrics], self.view_metrics), strict=True)
