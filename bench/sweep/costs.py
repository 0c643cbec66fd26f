"""What a cell will cost, from its configuration alone: nothing is downloaded, no weights are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.clip.encoders import untrained
from bench.clip.towers import image_flops
from bench.sweep.attempts import State, state
from bench.sweep.cells import Cell, names_class
from datamodules.base import HELD_OUT_EVERY
from datamodules.degradations import DEFAULT_DEGRADATIONS, load_tables, parse_all
from datamodules.errors import UserError

_IMAGES = {
    ("datamodules.CIFAR10", "train"): 50_000,
    ("datamodules.CIFAR10", "test"): 10_000,
    ("datamodules.CIFAR100", "train"): 50_000,
    ("datamodules.CIFAR100", "test"): 10_000,
    ("datamodules.ImageNet", "train"): 1_281_167,
    ("datamodules.ImageNet", "val"): 50_000,
    ("datamodules.STL10", "train"): 5_000,
    ("datamodules.STL10", "test"): 8_000,
    ("datamodules.Synthetic", "train"): 12_000,
    ("datamodules.Synthetic", "test"): 2_000,
}
_GRADIENT = 3  # passes: a backward pass takes twice what a forward pass does
_WITH_GRADIENTS = ("bench.RobustFineTuning", "bench.ConditionedTuning")  # all of the image tower's, one view per image


@dataclass(frozen=True)
class EncoderCost:
    """What one image of one view costs an encoder.

    Attributes:
        flops: Floating-point operations of the image tower for one image, a multiplication and an addition being two.
        parameters: Of both towers.
        download: Tag or repository that the weights come from; None for a local file.
    """

    flops: int
    parameters: int
    download: str | None


@dataclass(frozen=True)
class CellCost:
    """What one cell costs.

    Attributes:
        images: Number of source images; None where only the data can tell.
        passes: Of the image tower over each: one for a view that is tested, three for one that is fitted to.
        encoder: Of its encoder.
    """

    images: int | None
    passes: int
    encoder: EncoderCost

    @property
    def flops(self) -> int | None:
        """Floating-point operations of all passes over all images."""
        return None if self.images is None else self.images * self.passes * self.encoder.flops


def cell_cost(cell: Cell) -> CellCost:
    """Estimate one cell.

    Raises:
        UserError: Its configuration names no encoder or no views that there are, or it is a fit in closed form or of
            something else than the image tower.
    """
    config = cell.expected()
    model, data = (_arguments(config.get(part)) for part in ("model", "data"))
    encoder, pretrained = model.get("encoder", "ViT-B/32"), model.get("pretrained", "openai")
    degradations = data.get("degradations", DEFAULT_DEGRADATIONS)
    for name, value in [("model.encoder", encoder), ("model.pretrained", pretrained or "")]:
        if not isinstance(value, str):
            raise UserError(f"--{name} is {value!r}: give a text")
    if not isinstance(degradations, str) and not all(isinstance(view, str) for view in _listed(degradations)):
        raise UserError(f"--data.degradations is {degradations!r}: give names of views")
    tables = data.get("tables", ())
    for file in [tables] if isinstance(tables, str) else _listed(tables):
        load_tables(str(file))
    views = parse_all(degradations)
    if cell.command == "fit":
        return CellCost(_fitted(config, data), _GRADIENT * _epochs(config), encoder_cost(encoder, pretrained))
    return CellCost(_images(config, data, data.get("split", "test")), len(views), encoder_cost(encoder, pretrained))


@cache
def encoder_cost(encoder: str, pretrained: str | None) -> EncoderCost:
    """Count on the meta device, where tensors have shapes but no values.

    Raises:
        UserError: There is no such encoder.
    """
    model, size = untrained(encoder, pretrained)
    local = pretrained is not None and Path(pretrained).expanduser().is_file()
    return EncoderCost(
        flops=image_flops(model, size),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        download=None if local else f"{encoder} ({pretrained})",
    )


def dry_run(cells: Sequence[Cell], tflops: float, devices: int = 1) -> str:
    """The grid with what the image towers have to compute, as text.

    Args:
        cells: Of the sweep.
        tflops: 10^12 floating-point operations per second that one device sustains.
        devices: Their number.
    """
    from bench.runs.table import align

    rows = [["cell", "images", "passes", "GFLOP/image", "PFLOP", "hours"]]
    total, unknown, downloads = 0, 0, {}
    for cell in cells:
        try:
            cost = cell_cost(cell)
        except UserError as error:
            rows.append([cell.name, "?", "?", "?", "?", f"? ({error})"])
            unknown += 1
            continue
        if cost.encoder.download:
            downloads[cost.encoder.download] = cost.encoder.parameters
        total += cost.flops or 0
        unknown += cost.flops is None
        rows.append(
            [
                cell.name,
                "?" if cost.images is None else f"{cost.images:,}",
                str(cost.passes),
                f"{cost.encoder.flops / 1e9:.1f}",
                "?" if cost.flops is None else f"{cost.flops / 1e15:.3f}",
                "?" if cost.flops is None else f"{_hours(cost.flops, tflops, devices):.3f}",
            ]
        )
    lines = [
        align(rows),
        "",
        *_steps(cells),
        f"{len(cells)} cell{'s' * (len(cells) != 1)}: images x passes x GFLOP/image = {total / 1e15:.3f} PFLOP, "
        f"{_hours(total, tflops, devices):.1f} hours at {tflops:g} TFLOP/s (--tflops) on {devices} "
        f"device{'s' * (devices != 1)} (--devices)" + (f", without {unknown} that cannot be told" if unknown else ""),
        f"{len(downloads)} downloads of weights, {2 * sum(downloads.values()) / 1e9:.1f} GB in float16",
        "This counts the image towers alone, and of fits gradients: neither start-up, nor decoding, nor making views.",
    ]
    return "\n".join(lines)


def _steps(cells: Sequence[Cell]) -> list[str]:
    """A line per step of a sweep that has steps: its cells, and how many stand where."""
    lines = []
    for step in dict.fromkeys(cell.step for cell in cells if cell.step):
        own = [cell for cell in cells if cell.step == step]
        done = sum(_is_done(cell) for cell in own)
        waiting = sum(not all(_is_done(weights.fit) for weights in cell.weights) for cell in own)
        told = [f"{len(own)} cell{'s' * (len(own) != 1)} of `lightning {own[0].command}`", f"{done} done"]
        told += [f"{waiting} of weights that fits are yet to leave"] if waiting else []
        lines.append(f"{step}: {', '.join(told)}")
    return lines


def _is_done(cell: Cell) -> bool:
    return all(_is_done(weights.fit) for weights in cell.weights) and state(cell)[0] is State.DONE


def _hours(flops: float, tflops: float, devices: int) -> float:
    return flops / (tflops * 1e12 * devices) / 3600


def _arguments(part: Any) -> dict[str, Any]:
    arguments = part.get("init_args") if isinstance(part, dict) else None
    return arguments if isinstance(arguments, dict) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [None]


def _fitted(config: dict[str, Any], data: dict[str, Any]) -> int | None:
    """Images of the train split that are not held out."""
    kind = _class(config, "model")
    if not any(names_class(kind, known) for known in _WITH_GRADIENTS):
        raise UserError(f"a fit of {kind}")
    images, every = _images(config, data, "train"), data.get("validation_every", HELD_OUT_EVERY)
    _require_whole("data.validation_every", every)
    return None if images is None else images - -(-images // every)


def _epochs(config: dict[str, Any]) -> int:
    trainer = config.get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, dict) else None
    _require_whole("trainer.max_epochs", epochs)
    return int(epochs or 0)


def _require_whole(option: str, number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UserError(f"--{option} is {number!r}: give a whole number of at least 1")


def _class(config: dict[str, Any], part: str) -> str:
    described = config.get(part)
    return str(described.get("class_path")) if isinstance(described, dict) else ""


def _images(config: dict[str, Any], data: dict[str, Any], split: Any) -> int | None:
    limit, every, indices = data.get("limit"), data.get("every", 1), data.get("indices")
    for name, number in [("limit", limit), ("every", every)]:
        if number is not None:
            _require_whole(f"data.{name}", number)
    if indices:
        return min(len(_listed(indices)), limit or len(_listed(indices)))
    images = _IMAGES.get((_class(config, "data"), str(split)))
    if images is None:
        return None
    return min(-(-images // (every or 1)), limit or images)
