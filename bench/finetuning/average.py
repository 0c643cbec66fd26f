"""The mean of the weights of several fits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from lightning.pytorch import Trainer
from torch import nn

from bench.clip.encoders import load_encoder
from bench.clip.towers import image_tower
from bench.finetuning.interpolation import average
from bench.finetuning.tuning import EncoderTuning
from bench.paper import TEMPLATE
from bench.runs.finetuning_record import FineTuningRecord, Training
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError

_LEAST = 2


class WeightAverage(EncoderTuning):
    """The mean of weights that fits left which differ in their seeds alone: a uniform soup (Wortsman et al., 2022).

    arXiv 2203.05482. Nothing is fitted: `max_epochs` is 0, and images are only needed to measure on those held out.

    Args:
        members: Files of weights, each in the folder of its fit, at least two.
        encoder: What they were tuned from; as for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.

    Raises:
        UserError: Weights or their records are unusable, were tuned from another encoder, or do not belong together.
    """

    def __init__(
        self,
        members: Sequence[str],
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
    ) -> None:
        if len(members) < _LEAST:
            raise UserError(f"{len(members)} weights have no mean: give two files or more", option="model.members")
        self._asked = (encoder, activation)
        self._files = [Path(member) for member in members]
        self._records = [_record(file) for file in self._files]
        super().__init__(encoder, pretrained, activation, templates)
        self.automatic_optimization = False
        original = self.encoder.provenance()["weights_sha256"]
        for file, record in zip(self._files, self._records, strict=True):
            if record.original.weights_sha256 != original:
                raise UserError(
                    f"{file} was tuned from {record.original.pretrained} and not from {pretrained}: name what all "
                    "members were tuned from",
                    option="model.pretrained",
                )

    def release(self, tower: nn.Module) -> frozenset[str]:
        """Take the mean; all of the tower may differ from the original."""
        encoder, activation = self._asked
        towers = [image_tower(load_encoder(encoder, str(file), activation).model).state_dict() for file in self._files]
        tower.load_state_dict(average(towers))
        next(tower.parameters()).requires_grad_(True)  # DistributedDataParallel refuses a model without such a weight
        return frozenset(tower.state_dict())

    def method(self) -> dict[str, Any]:
        first = self._records[0]
        return {**first.method, "average": {"name": first.name, "seeds": [record.seed for record in self._records]}}

    def course(self) -> Training:
        """How each of the members was tuned."""
        return self._records[0].training

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(_sha256(file, record) for file, record in zip(self._files, self._records, strict=True))

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse to train."""
        if trainer.max_epochs != 0:
            raise UserError(
                "weights that are averaged are not trained: set `max_epochs` to 0", option="trainer.max_epochs"
            )

    @property
    def learnt(self) -> bool:
        """There is something to export."""
        return True

    def training_step(self, *_: Any) -> NoReturn:
        """There is none."""
        raise NotImplementedError("weights that are averaged are not trained")

    def configure_optimizers(self) -> None:
        """There is nothing to descend."""


def _record(file: Path) -> FineTuningRecord:
    try:
        return FineTuningRecord.read(file.parent)
    except OSError as error:
        raise UserError(
            f"{file} has no record of its fit beside it ({error.strerror}): give files in the folders of fits",
            option="model.members",
        ) from error


def _sha256(file: Path, record: FineTuningRecord) -> str:
    for export in record.exports:
        if export.file == file.name:
            return export.sha256
    raise UserError(f"{file} is none of the exports of the fit in its folder: give one of them", option="model.members")
