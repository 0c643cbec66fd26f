"""What a cell will cost, from its configuration alone: nothing is downloaded, no weights are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.clip.encoders import untrained
from bench.clip.towers import image_flops
from bench.sweep.grid import Cell
from datamodules.degradations import DEFAULT_DEGRADATIONS, parse_all
from datamodules.errors import UserError

_IMAGES = {
    ("datamodules.CIFAR10", "train"): 50_000,
    ("datamodules.CIFAR10", "test"): 10_000,
    ("datamodules.STL10", "train"): 5_000,
    ("datamodules.STL10", "test"): 8_000,
    ("datamodules.Synthetic", "train"): 12_000,
    ("datamodules.Synthetic", "test"): 2_000,
}
_BATCH_SIZE = 128  # the data modules' default


@dataclass(frozen=True)
class EncoderCost:
    """What one image of one view costs, and what the encoder occupies.

    Attributes:
        flops: Floating-point operations of the image tower for one image, a multiplication and an addition being two.
        parameters: Of both towers.
        activation_bytes: The largest output of a module for one image, in float32.
        download: Tag or repository that the weights come from; None for a local file.
    """

    flops: int
    parameters: int
    activation_bytes: int
    download: str | None


@dataclass(frozen=True)
class CellCost:
    """What one cell costs.

    Attributes:
        images: Number of source images; None where only the data can tell.
        views: Number of views of each.
        encoder: Of its encoder.
        batch_size: Images per batch.
    """

    images: int | None
    views: int
    encoder: EncoderCost
    batch_size: int

    @property
    def flops(self) -> int | None:
        """Floating-point operations of the image tower for all views of all images."""
        return None if self.images is None else self.images * self.views * self.encoder.flops

    @property
    def memory_bytes(self) -> int:
        """Parameters in float32, and four times the largest activation of a batch: an estimate."""
        return 4 * self.encoder.parameters + 4 * self.encoder.activation_bytes * self.batch_size


@dataclass(frozen=True)
class Machine:
    """What a run's time is reckoned with.

    Attributes:
        flops: Floating-point operations per second that one device sustains in the image tower.
        devices: Their number.
        view_seconds: To decode, degrade and stack one view of one image, on one core.
        cores: That make views.
        startup: Seconds from the command to the first batch, and from the last one to the end.
        shared: Whether the device is those cores, so that making views takes time from the encoder; else both go on at
            once and the slower one counts.
    """

    flops: float
    devices: int = 1
    view_seconds: float = 3e-4
    cores: int = 8
    startup: float = 20.0
    shared: bool = False

    def seconds(self, flops: float, views: int) -> float:
        """Wall-clock seconds of a run.

        Args:
            flops: Of all images and views.
            views: Images times views.

        >>> Machine(flops=1e9, devices=2, view_seconds=1e-3, cores=4, startup=5).seconds(flops=20e9, views=10_000)
        15.0
        >>> Machine(flops=1e9, view_seconds=1e-3, cores=4, startup=5, shared=True).seconds(flops=20e9, views=10_000)
        27.5
        """
        encoding, making = flops / (self.flops * self.devices), views * self.view_seconds / self.cores
        return self.startup + (encoding + making if self.shared else max(encoding, making))


def cell_cost(cell: Cell) -> CellCost:
    """Estimate one cell.

    Raises:
        UserError: Its configuration names no encoder or no views that there are, or it is no test.
    """
    if cell.command != "test":
        raise UserError(f"what a {cell.command} costs is not estimated")
    config = cell.expected()
    model, data = (_arguments(config.get(part)) for part in ("model", "data"))
    encoder = encoder_cost(str(model.get("encoder", "ViT-B/32")), model.get("pretrained", "openai"))
    views = len(parse_all(list(data.get("degradations", DEFAULT_DEGRADATIONS))))
    return CellCost(_images(config, data), views, encoder, int(data.get("batch_size", _BATCH_SIZE)))


@cache
def encoder_cost(encoder: str, pretrained: str | None) -> EncoderCost:
    """Count on the meta device, where tensors have shapes but no values.

    Raises:
        UserError: There is no such encoder.
    """
    model, size = untrained(encoder, pretrained)
    largest = 0

    def measure(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, 4 * output.numel())

    hooks = [module.register_forward_hook(measure) for module in model.visual.modules()]  # type: ignore[union-attr]
    flops = image_flops(model, size)
    for hook in hooks:
        hook.remove()
    local = pretrained is not None and Path(pretrained).expanduser().is_file()
    return EncoderCost(
        flops=flops,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        activation_bytes=largest,
        download=None if local else f"{encoder} ({pretrained})",
    )


def dry_run(cells: Sequence[Cell], machine: Machine) -> str:
    """The grid with its estimated costs, as text.

    Args:
        cells: Of the sweep.
        machine: Where it is to run.
    """
    from bench.runs.table import align

    rows = [["cell", "images", "views", "GFLOP/image", "hours", "memory"]]
    total, unknown, downloads = 0.0, 0, {}
    for cell in cells:
        try:
            cost = cell_cost(cell)
        except UserError as error:
            rows.append([cell.name, "?", "?", "?", "?", f"? ({error})"])
            unknown += 1
            continue
        if cost.encoder.download:
            downloads[cost.encoder.download] = cost.encoder.parameters
        hours = None
        if cost.images is not None and cost.flops is not None:
            hours = machine.seconds(cost.flops, cost.images * cost.views) / 3600
        total += hours or 0
        unknown += hours is None
        rows.append(
            [
                cell.name,
                "?" if cost.images is None else f"{cost.images:,}",
                str(cost.views),
                f"{cost.encoder.flops / 1e9:.1f}",
                "?" if hours is None else f"{hours:.3f}",
                f"{cost.memory_bytes / 2**30:.1f} GiB",
            ]
        )
    lines = [
        align(rows),
        "",
        f"{len(cells)} cells, {total:.1f} hours on {machine.devices} device{'s' * (machine.devices > 1)}"
        + (f" without {unknown} cells that cannot be told" if unknown else ""),
        f"{len(downloads)} downloads of weights, {2 * sum(downloads.values()) / 1e9:.1f} GB in float16",
        "",
        f"Assumptions: {machine.flops / 1e12:g} TFLOP/s sustained per device (--tflops; a GPU sustains about half of "
        "its peak in float32, which is 10 for an A100, 30 for an H100, a CPU core 0.08), the image tower alone; "
        f"{machine.startup:g} s of start-up per cell; {machine.view_seconds * 1e3:g} ms to make a view on one of "
        f"{machine.cores} cores, while the encoder works. Memory is the weights in float32 and four times the largest "
        "activation of a batch. How well such a reckoning does: `python -m benchmarks.cost_model`.",
    ]
    return "\n".join(lines)


def _arguments(part: Any) -> dict[str, Any]:
    return (part.get("init_args") or {}) if isinstance(part, dict) else {}


def _images(config: dict[str, Any], data: dict[str, Any]) -> int | None:
    if data.get("indices"):
        return min(len(data["indices"]), data.get("limit") or len(data["indices"]))
    images = _IMAGES.get((config["data"].get("class_path"), data.get("split", "test")))
    if images is None:
        return None
    return min(-(-images // int(data.get("every", 1))), data.get("limit") or images)
