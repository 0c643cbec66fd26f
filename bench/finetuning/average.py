"""The mean of the weights of several fits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from lightning.pytorch import Trainer
from torch import nn

from bench.clip.encoders import load_encoder
from bench.clip.towers import image_tower
from bench.finetuning.interpolation import average
from bench.finetuning.optimisation import refuse_running_average
from bench.finetuning.tuning import EncoderTuning
from bench.paper import TEMPLATE
from bench.runs.finetuning_record import Export, FineTuningRecord, Training
from bench.runs.json_values import differences
from datamodules.base import DegradedDataModule
from datamodules.errors import UserError

_LEAST = 2


class WeightAverage(EncoderTuning):
    """The mean of weights that fits left which differ in their seeds alone: a uniform soup (Wortsman et al., 2022).

    arXiv 2203.05482. Nothing is fitted: `max_epochs` is 0, and images are only needed to measure on those held out.

    Args:
        members: Files of weights, each in the folder of its fit, at least two, of different seeds.
        encoder: What they were tuned from; as for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.

    Raises:
        UserError: Weights or their records are unusable, were tuned from another encoder, or differ in more than seeds
            or not in these.
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
        self._exports = [_export(file, record) for file, record in zip(self._files, self._records, strict=True)]
        self._check_members()
        super().__init__(encoder, pretrained, activation, templates)
        self.automatic_optimization = False
        original = self._records[0].original
        if original.weights_sha256 != self.encoder.provenance()["weights_sha256"]:
            raise UserError(
                f"{self._files[0]} was tuned from {original.pretrained} and not from {pretrained}: name what all "
                "members were tuned from",
                option="model.pretrained",
            )

    def _check_members(self) -> None:
        recipes = [
            {**record.recipe(export.alpha), "validation_images": record.validation_images}
            for record, export in zip(self._records, self._exports, strict=True)
        ]
        seen: dict[tuple[int, str | None], Path] = {}
        for file, record, recipe in zip(self._files, self._records, recipes, strict=True):
            if different := differences(recipes[0], recipe):
                raise UserError(
                    f"{file} differs from {self._files[0]} in {', '.join(different)}: give fits that differ in their "
                    "seeds alone",
                    option="model.members",
                )
            seeds = record.seed, record.seed_everything
            if seeds in seen:
                raise UserError(
                    f"{file} has the seeds of {seen[seeds]}: give fits of different seeds, each once",
                    option="model.members",
                )
            seen[seeds] = file

    def release(self, tower: nn.Module) -> frozenset[str]:
        """Take the mean; all of the tower may differ from the original."""
        encoder, activation = self._asked
        towers = []
        for file, sha256 in zip(self._files, self.members, strict=True):
            member = load_encoder(encoder, str(file), activation)
            if member.provenance()["weights_sha256"] != sha256:
                raise UserError(
                    f"{file} is not what the record beside it lists: fit it anew, or restore it", option="model.members"
                )
            towers.append(image_tower(member.model).state_dict())
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
        return tuple(export.sha256 for export in self._exports)

    def check_run(self, trainer: Trainer, data: DegradedDataModule) -> None:
        """Refuse to train, and callbacks that average the weights of steps."""
        refuse_running_average(trainer)
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


def _export(file: Path, record: FineTuningRecord) -> Export:
    for export in record.exports:
        if export.file == file.name:
            return export
    raise UserError(f"{file} is none of the exports of the fit in its folder: give one of them", option="model.members")
