"""Test-time adaptation as a test of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from lightning.pytorch import Trainer
from torch import Tensor

from bench.adaptation.entropy import Stream, Tent, has_batch_norms
from bench.clip.towers import image_tower
from bench.evaluation import ZeroShotEvaluation
from bench.finetuning.trainable import norm_parameters
from bench.paper import TEMPLATE
from bench.runs.adaptation import BATCH_COLUMN, AdaptationRecord
from bench.runs.provenance import ADAPTATION
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError
from datamodules.views import Images

_METHOD = "TENT"


@runtime_checkable
class RefusesAdaptation(Protocol):
    """A callback for which a model has to be the same for all images and views."""

    refuses_adaptation: ClassVar[str]
    """Why, as the end of a sentence."""


class TestTimeAdaptation(ZeroShotEvaluation):
    """Adapts the encoder to the images while it classifies them (TENT): results depend on neighbours and order.

    Each view is a stream of its own, which begins with the original weights: batch after batch, gains and biases of the
    image tower's normalisation layers make one step towards less entropy of the zero-shot predictions. The original
    view, adapted by itself, is the control. What is said of an image comes from before the step on its own batch, or
    where `reset` is "batch" from after it; see `bench.adaptation.entropy`.

    So nothing that is said of an image is a property of encoder and image alone. Record, per-image table, screen and
    report say so, with batch size and order; reports keep such runs apart. A run that was interrupted begins anew.

    Args:
        encoder: As for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.
        normalise: As for `bench.ZeroShotEvaluation`.
        fidelity: As for `bench.ZeroShotEvaluation`.
        restoration: As for `bench.ZeroShotEvaluation`.
        learning_rate: Of the one step per batch, at least 0; with 0 nothing changes but BatchNorm's statistics.
        optimiser: Adam, or SGD with Nesterov's momentum of 0.9.
        reset: "never": every batch goes on from the one before; "batch": each begins with the original weights and a
            fresh optimiser.
        statistics: What BatchNorm normalises with: the mean and variance of the "batch" at hand, as in the paper, which
            needs batches that are large and mixed; or the encoder's own ("source"). Other layers have none.
        shuffle: Seed of the order in which the images come; null takes the data's own order, in which a folder of class
            folders comes class by class.

    Raises:
        UserError: The encoder, its weights, the prompts, the restoration or the learning rate is unusable.

    >>> import bench
    >>> demo = ("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    >>> bench.TestTimeAdaptation(*demo).trained_parameters
    3648

    `Trainer(devices=1).test(module, data)` then adapts and measures; it needs one process and float32.
    """

    tag: ClassVar[str] = "adapted"
    resumable: ClassVar[bool] = False

    def __init__(
        self,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
        normalise: bool = True,
        fidelity: bool = True,
        restoration: str | None = None,
        learning_rate: float = 1e-3,
        optimiser: Literal["adam", "sgd"] = "adam",
        reset: Literal["never", "batch"] = "never",
        statistics: Literal["batch", "source"] = "batch",
        shuffle: int | None = 0,
    ) -> None:
        tent = Tent(learning_rate, optimiser, reset, statistics)
        if shuffle is not None and shuffle < 0:
            raise UserError(
                f"`shuffle` {shuffle} is out of range: choose a seed of at least 0, or null", option="model.shuffle"
            )
        super().__init__(
            encoder, pretrained, activation, templates, normalise=normalise, fidelity=fidelity, restoration=restoration
        )
        self.tent, self.shuffle = tent, shuffle
        tower = image_tower(self.encoder.model)
        self.trained_parameters = sum(tower.get_parameter(name).numel() for name in norm_parameters(tower))
        if not self.trained_parameters:
            raise UserError(
                f"`encoder` {encoder} has no normalisation layers to adapt: test it as it is", option="model.encoder"
            )
        self._streams: dict[str, Stream] = {}

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse rounded arithmetic, several processes, and callbacks that need a model that stays as it is."""
        super().check_run(trainer, data)
        if trainer.precision != "32-true":
            raise UserError(
                f"`precision` {trainer.precision} would round the gradients that the encoder is adapted with: use "
                "32-true",
                option="trainer.precision",
            )
        if trainer.world_size > 1:
            raise UserError(
                f"{trainer.world_size} processes would adapt as many encoders, each to a part of the batches: use "
                "`devices=1` and one node",
                option="trainer.devices",
            )
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # a connector sets it
            if isinstance(callback, RefusesAdaptation):
                raise UserError(
                    f"callbacks.{type(callback).__name__} cannot follow an encoder that is adapted while it is tested: "
                    f"{callback.refuses_adaptation}; leave the callback out",
                    option="trainer.callbacks",
                )

    def setup(self, stage: str) -> None:
        """As for any test; every stream begins anew."""
        super().setup(stage)
        self.data.order_seed = self.shuffle
        self._streams = {}

    def describe(self) -> dict[str, Any]:
        """What a result record says about the model: JSON-able."""
        has_statistics = has_batch_norms(image_tower(self.encoder.model))
        record = AdaptationRecord(
            method=_METHOD,
            optimiser=self.tent.optimiser,
            learning_rate=self.tent.learning_rate,
            reset=self.tent.reset,
            statistics=self.tent.statistics if has_statistics else None,
            trained_parameters=self.trained_parameters,
            batch_size=self.data.batch_size,
            shuffle=self.shuffle,
            processes=self.trainer.world_size,
        )
        return {**super().describe(), ADAPTATION: record.to_json()}

    def embed_view(self, view: str, images: Images) -> Tensor:
        """Unit embeddings, float32 [B, D], of the next batch of a view's stream, which goes on with it."""
        if view not in self._streams:
            self._streams[view] = Stream(self.classifier, self.tent)
        return self._streams[view].embed(self.classifier.preprocess(images))

    def image_columns(self) -> Mapping[str, Mapping[int, int]]:
        """The batch that each image was in, by its index."""
        batches = {index: place // self.data.batch_size for place, index in enumerate(self.data.order)}
        return {BATCH_COLUMN: batches}
