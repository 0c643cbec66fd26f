"""What fits by gradient share: the optimiser, its number of steps, and what of the trainer decides about them."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn

from datamodules.errors import UserError

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def check_precision(trainer: Trainer) -> None:
    """Refuse to keep weights in another type than float32.

    Raises:
        UserError: Half precision rounds small steps away, float64 is not what the exported weights are measured in.
    """
    if trainer.precision not in _PRECISIONS:
        raise UserError(
            f"`precision` {trainer.precision} keeps the weights in another type than float32, which fits need: "
            f"use {', '.join(_PRECISIONS[:-1])} or {_PRECISIONS[-1]}",
            option="trainer.precision",
        )


def refuse_running_average(trainer: Trainer) -> None:
    """Refuse callbacks that average the weights of steps, where a fit makes none.

    Raises:
        UserError: There is one, which would export the weights that it began with.
    """
    if (average := _average_of_steps(trainer)) is not None:
        raise UserError(
            f"`callbacks` has {type(average).__name__}, which averages the weights of an optimiser's steps, and this "
            "fit makes none: leave it out",
            option="trainer.callbacks",
        )


def take_average(trainer: Trainer, module: LightningModule) -> None:
    """Load the average of the weights of a fit's steps, where a callback keeps one.

    Lightning does so when training ends, which it does not in a fit that goes on from the checkpoint of its last step.
    """
    if (average := _average_of_steps(trainer)) is not None:
        average.on_train_end(trainer, module)


def moving_average(trainer: Trainer) -> dict[str, Any]:
    """How the weights of steps are averaged, as a record describes a choice.

    Its name is "no average" where the last ones count. The decay is in it where the callback has it as an attribute,
    which Lightning's own have not.
    """
    if (average := _average_of_steps(trainer)) is None:
        return {"name": "no average"}
    decay = getattr(average, "decay", None)
    return {"name": type(average).__name__, **({"decay": float(decay)} if isinstance(decay, int | float) else {})}


def clipping(trainer: Trainer) -> dict[str, Any]:
    """How gradients are clipped, under the names of the trainer's options; a bound of 0 does not."""
    bound, algorithm = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
    if bound is None or bound <= 0:
        return {"gradient_clip_val": 0.0}
    name = "norm" if algorithm is None else str(algorithm.value)
    return {"gradient_clip_val": float(bound), "gradient_clip_algorithm": name}


def trainer_settings(trainer: Trainer) -> dict[str, Any]:
    """What of the trainer decides about the course of a fit: JSON-able, under the names of the options."""
    schedules = [part.scheduling for part in _callbacks(trainer) if isinstance(part, GradientAccumulationScheduler)]
    return {
        "precision": str(trainer.precision),
        "accumulate_grad_batches": schedules or trainer.accumulate_grad_batches,  # which a schedule moves
        **clipping(trainer),
        "moving_average": moving_average(trainer),
    }


def _average_of_steps(trainer: Trainer) -> Callback | None:
    kinds = (WeightAveraging, StochasticWeightAveraging)
    return next((part for part in _callbacks(trainer) if isinstance(part, kinds)), None)


def _callbacks(trainer: Trainer) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
    return callbacks


def adamw(
    parameters: Iterable[nn.Parameter], rate: float, decay: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not gains and biases (Loshchilov and Hutter, 2019, arXiv 1711.05101).

    Args:
        parameters: What learns.
        rate: The learning rate.
        decay: Of the weights that have at least two dimensions.
        betas: Shares that the averages of the gradient and of its square keep with each step.
    """
    every = list(parameters)
    return torch.optim.AdamW(
        [
            {"params": [p for p in every if p.ndim >= 2], "weight_decay": decay},
            {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=betas,
    )


def no_loss(parameters: Iterable[nn.Parameter]) -> Tensor:
    """A scalar 0 whose gradient is 0: a process without an image has to take part in the step of the others."""
    return torch.stack([0 * parameter.sum() for parameter in parameters if parameter.requires_grad]).sum()


def total_steps(trainer: Trainer) -> int:
    """Number of steps over which a schedule stretches, at least 1.

    Raises:
        UserError: It is not known before the fit, or there is no step to make.
    """
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps):
        raise UserError(
            f"`max_epochs` {trainer.max_epochs} leaves open over how many steps the learning rate falls: set "
            "`max_epochs` or `max_steps`; `max_time` may still end the fit before",
            option=("trainer.max_epochs", "trainer.max_steps", "trainer.max_time"),
        )
    if steps < 1 or trainer.max_epochs == 0:
        raise nothing_learnt()
    return int(steps)


def nothing_learnt() -> UserError:
    """The error of a fit without a step."""
    return UserError(
        "the fit makes no step: raise `max_epochs`, `max_steps` or `limit_train_batches`",
        option=("trainer.max_epochs", "trainer.max_steps", "trainer.limit_train_batches"),
    )


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the peak learning rate that a step is made with: linear to 1 in `warmup` steps, then a cosine to 0.

    >>> [round(warmup_cosine(step, 2, 6), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
