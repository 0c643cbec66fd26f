"""Zero-shot evaluation of a frozen CLIP on images and their degraded views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torchmetrics.classification import MulticlassPrecision

from bench.adapters.files import NamedAdapter, read_adapter
from bench.classification import classify_views
from bench.clip.encoders import load_encoder
from bench.clip.float32 import convolve_as_products
from bench.clip.run_classifier import classifier_of_the_run
from bench.clip.templates import read_templates, templates_of
from bench.clip.zero_shot import ZeroShotClassifier
from bench.fidelity import fidelity
from bench.metrics import measure, scalars
from bench.outcomes import Outcomes
from bench.paper import TEMPLATE
from bench.restoration.choice import read_named
from bench.runs.checkpoints import load_weights_only
from bench.runs.gathering import gather, gather_outcomes
from bench.runs.view_record import ViewRecord
from datamodules.allocation import keep_freed_memory
from datamodules.base import DegradedDataModule, degraded_data
from datamodules.degradations import ORIGINAL
from datamodules.errors import UserError
from datamodules.views import Batch, Images, Unreadable

_MIXED = ("16-mixed", "bf16-mixed")
_CHANGED_BY_ROUNDING = 0.02  # share of predictions above which it is more than a remark


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
        templates: Prompts with `{}` for the class name; several are ensembled. Or the name of a list, `dataset` (what
            belongs to the data set), `openai-imagenet` (80) or `simple` (7 of them), or a file with a prompt per line.
        normalise: Whether the encoder sees pixels normalised with the mean and standard deviation it was trained with.
            Without, results are worse; it is there to follow the Integrated Gradients code of Chen, Namboodiri and
            Padget (2023).
        fidelity: Whether PSNR and SSIM of the views are measured, which takes under half a second per megapixel and
            view on one CPU core: little for thumbnails, much for photographs.
        compile: Whether the encoder is compiled, which changes the last digits of what it says.
        restoration: What every view, the original too, passes through before the encoder: a file that a fit of
            `bench.RestorationTuning` exported, or `deblock-QUALITY`, a classical filter that is told JPEG's quality.
            PSNR and SSIM are then of what the encoder is shown against the original before, at the size it has there.
        adapter: A file that a fit of `bench.ConditionedTuning` exported: an addition to the encoder whose strength
            depends on the codec and quality of a view, which it is told by the view's name; originals it leaves alone.

    Raises:
        UserError: The encoder, its weights, the prompts, the restoration or the adapter are unusable.

    >>> module = ZeroShotEvaluation("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    >>> module.templates
    ('This is an image of a {}.',)

    `Trainer().test(module, data)` then evaluates it on any data module of `datamodules`.
    """

    tag: ClassVar[str] = "test"
    """What the names of logged scalars begin with."""

    resumable: ClassVar[bool] = True
    """Whether what was said of an image stays as it is, whichever images are left out of a run."""

    classifier: ZeroShotClassifier
    precisions: nn.ModuleList  # in the order of the views; names with a dot could not be keys of a ModuleDict

    def __init__(
        self,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
        normalise: bool = True,
        fidelity: bool = True,
        compile: bool = False,
        restoration: str | None = None,
        adapter: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.templates = self._given_templates = read_templates(templates)
        loaded = load_encoder(encoder, pretrained, activation)
        self.encoder = loaded if normalise else replace(loaded, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.fidelity, self.compiles = fidelity, compile
        self.restoration = None if restoration is None else read_named(restoration)
        self.adapter = None if adapter is None else self._read_adapter(adapter)
        self.measured: dict[str, ViewRecord] = {}
        self.parts: list[dict[str, Outcomes]] = []
        self.skipped: list[Unreadable] = []
        self._whole: WholeRun | None = None
        self._gathered = False
        self._unchecked = True

    def _read_adapter(self, file: str) -> NamedAdapter:
        for name, other in (("restoration", self.restoration is not None), ("compile", self.compiles)):
            if other:
                raise UserError(f"`adapter` and `{name}` do not go together: leave one out", option="model.adapter")
        return read_adapter(Path(file).expanduser(), self.encoder)

    @property
    def data(self) -> DegradedDataModule:
        """The data module, which owns class names and views.

        Raises:
            UserError: The data module is of another kind.
        """
        return degraded_data(self.trainer)

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse a precision that would keep the model in another type, and prompts of data that bring none.

        See `bench.command_line.checks.Checks`.
        """
        if trainer.precision not in ("32-true", *_MIXED):
            raise UserError(
                f"`precision` {trainer.precision} changes the type of the weights, the logit scale and the text "
                "classifier: use bf16-mixed or 16-mixed, or 32-true",
                option="trainer.precision",
            )
        if not self._given_templates:
            templates_of(data)

    def setup(self, stage: str) -> None:
        """Build the text classifier for the data's class names, and a metric per view; forget earlier runs."""
        load_weights_only(self.trainer)
        convolve_as_products()
        self.check_run(self.trainer, self.data)
        before_restoration = self.fidelity and self.restoration is None
        self.data.geometry, self.data.compare = self.encoder.geometry, fidelity if before_restoration else None
        self.data.order_seed = None
        names = self.data.class_names
        self._unchecked = True
        if self.trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        self.templates = self._given_templates or templates_of(self.data)
        text = classifier_of_the_run(self.trainer, self.encoder, names, self.templates)
        restorer = None if self.restoration is None else self.restoration.restorer
        adapter = None if self.adapter is None else self.adapter.adapter
        self.classifier = ZeroShotClassifier(self.encoder, names, self.templates, text, restorer, adapter)
        if self.compiles:
            self.classifier.compile_encoder()
        options: dict[str, Any] = {"num_classes": len(names), "average": "micro", "validate_args": False}
        self.precisions = nn.ModuleList(
            MulticlassPrecision(**options) for _ in (self.data.views if self.data.labelled else ())
        )
        self.measured, self.parts, self.skipped = {}, [], []
        self._whole, self._gathered = None, False

    def forward(self, images: Any) -> Tensor:
        """Class probabilities of images, once a run has told the class names; see `ZeroShotClassifier`."""
        if not hasattr(self, "classifier"):
            raise UserError(
                "class names are known once a run has started: use bench.ZeroShotClassifier(encoder, class_names)"
            )
        return self.classifier.probabilities(images)

    def describe(self) -> dict[str, Any]:
        """What a result record says about the model: JSON-able."""
        return {
            **self.encoder.provenance(),
            "templates": list(self.templates),
            "precision": self.trainer.precision,
            "fidelity": self.fidelity,
            **({} if (rounding := torch.get_float32_matmul_precision()) == "highest" else {"float32_matmul": rounding}),
            **({} if self.restoration is None else self.restoration.said.describe()),
            **({} if self.adapter is None else self.adapter.said.describe()),
        }

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Outcomes]:
        """Classify a batch and update the precision of each view."""
        return self._classify(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Outcomes]:
        """Classify a batch of images with or without labels."""
        return self._classify(batch)

    def _classify(self, batch: Batch) -> dict[str, Outcomes]:
        shown = replace(batch, views={view: self.classifier.restored(images) for view, images in batch.views.items()})
        rows = classify_views(
            shown,
            self.embed_view,
            self.classifier.logits,
            with_fidelity=self.fidelity,
            originals=batch.views[ORIGINAL],
        )
        if self._unchecked and len(batch) and self.trainer.precision in _MIXED:
            self._unchecked = False
            self._compare_with_float32(batch.views, rows.prediction)
        if len(batch) and self._precisions:  # none without labels
            predictions = rows.prediction.view(-1, len(batch))
            for precision, found in zip(self._precisions, predictions, strict=True):
                precision.update(found, batch.labels)
        outcomes = rows.on_host(list(batch.views))
        self.skipped += batch.unreadable
        self.parts.append(outcomes)
        return outcomes

    def embed_view(self, view: str, images: Images) -> Tensor:
        """Unit embeddings, float32 [B, D], of a batch's images of a view, restored already."""
        return self.classifier.embed_restored(images, view)

    def image_columns(self) -> Mapping[str, Mapping[int, int]]:
        """Further columns of the per-image table by name: whole numbers by the index of the image."""
        return {}

    def _compare_with_float32(self, views: Mapping[str, Images], predictions: Tensor) -> None:
        """Say how many predictions of a batch, view after view, a mixed precision changes."""
        with torch.autocast(self.device.type, enabled=False):
            exact = torch.cat(
                [self.classifier.pixel_logits(self.classifier.pixels(images), view) for view, images in views.items()]
            )
        count, changed = len(exact), int((predictions != exact.argmax(1)).sum())
        say = rank_zero_info if changed <= _CHANGED_BY_ROUNDING * count else rank_zero_warn
        say(f"{self.trainer.precision} changes {changed} of the first {count} predictions ({changed / count:.1%})")

    def take_up(self, outcomes: dict[str, Outcomes]) -> None:
        """Add outcomes by view that an interrupted run has left."""
        self.parts.append(outcomes)
        for precision, rows in zip(self._precisions, outcomes.values(), strict=False):
            precision.update(rows.prediction.to(self.device), rows.label.to(self.device))

    def merge_parts(self) -> None:
        """Hold what grows in one piece: small tensors that stay where large ones come and go break up the heap."""
        self.parts = [{view: Outcomes.concatenate([part[view] for part in self.parts]) for view in self.data.views}]

    def whole_run(self) -> WholeRun | None:
        """The outcomes of all processes on the first one, None on the others.

        A collective call, once all batches are through; asking again costs nothing.
        """
        if not self._gathered:
            self._gathered = True
            self.merge_parts()
            (own,) = self.parts
            whole, skipped = gather_outcomes(own), gather(self.skipped)
            if whole is not None:
                unreadable = sorted((image for rank in skipped for image in rank), key=lambda image: image.index)
                self._whole = WholeRun(whole, unreadable)
        return self._whole

    def on_test_epoch_end(self) -> None:
        """Measure; scalars are logged as `<tag>/<metric>/<view>`, on every process those of the whole run."""
        self._measure()
        found = self.trainer.strategy.broadcast(scalars(self.measured))
        if found:  # torchmetrics' own, over all processes, takes the place of what was counted from outcomes
            found |= {
                f"precision/{view}": float(precision.compute())
                for view, precision in zip(self.data.views, self._precisions, strict=True)
            }
        named = {f"{self.tag}/{name}": value for name, value in found.items()}
        # equal on every process; Lightning warns unless it may average them
        self.log_dict(named, sync_dist=True, logger=False)
        for logger in self.trainer.loggers:  # Lightning would add the epoch, of which a test has none
            logger.log_metrics(named, step=0)
            logger.save()

    def on_predict_epoch_end(self) -> None:
        """Measure; Lightning logs nothing while it predicts."""
        self._measure()

    def _measure(self) -> None:
        """What every view comes to, on the first process."""
        run = self.whole_run()
        if run is not None and len(run.outcomes[ORIGINAL]):
            self.measured = measure(run.outcomes, len(self.data.class_names), labelled=self.data.labelled)

    @property
    def _precisions(self) -> Sequence[MulticlassPrecision]:
        return cast(Sequence[MulticlassPrecision], self.precisions)
