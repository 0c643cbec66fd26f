"""Outcomes: what remains of the logits once an image has been classified."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from datamodules.errors import UserError

if TYPE_CHECKING:  # what only reads outcomes back, such as the report, starts without torch
    import torch
    from torch import Tensor

UNKNOWN = -1
"""Stands in a whole-number column for what is not known, such as the label of an unlabelled image."""


class Quantity(NamedTuple):
    """What is kept of each image in each view.

    The declaration of a field of `Outcomes` is the only place that says so: the columns of the journal and of the
    per-image table, the report's reading of it, the means and medians among the metrics and the documentation follow
    from it.

    Attributes:
        name: Of the field, the column and the mean.
        dtype: "int32", where `UNKNOWN` is what is not known, or "float32", where NaN is.
        title: What tables for readers call it.
        unit: Of the values; empty for shares and counts of nothing.
        decimals: Of the mean in tables for readers; None where a mean says nothing.
        definition: A sentence.
        noisy: Whether the same run gives other values each time. Such a quantity is no column of the per-image table,
            which is the same to the byte, and its median is a metric in place of its mean.
    """

    name: str
    dtype: Literal["int32", "float32"]
    title: str
    unit: str
    decimals: int | None
    definition: str
    noisy: bool = False

    @property
    def unknown(self) -> float:
        """What a column holds where the quantity is not known."""
        return UNKNOWN if self.dtype == "int32" else math.nan

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of a column."""
        import torch

        return torch.int32 if self.dtype == "int32" else torch.float32


def _whole(definition: str, title: str = "", unit: str = "", decimals: int | None = None) -> Any:
    return field(metadata={"dtype": "int32", "about": (title, unit, decimals, definition)})


def _real(definition: str, title: str, unit: str = "", decimals: int = 4) -> Any:
    return field(metadata={"dtype": "float32", "about": (title, unit, decimals, definition)})


def _time(definition: str, title: str) -> Any:
    return field(metadata={"dtype": "float32", "about": (title, "ms", 3, definition, True)})


@dataclass
class Outcomes:
    """One row per image of one view; metrics, tables, statistics and selections read nothing else.

    Every attribute is a column [B]; see `QUANTITIES` for types, units and definitions. A quantity is added by adding a
    field here, and by computing it where rows are made.

    >>> import torch
    >>> rows = Outcomes.from_logits(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([2]), torch.tensor([7]))
    >>> rows.prediction.tolist(), rows.rank.tolist(), rows.encoded_bytes.tolist()
    ([1], [1], [-1])
    """

    index: Tensor = _whole("Position of the image in its source.")
    label: Tensor = _whole("True class, as a position in the class names; unknown where the image has no label.")
    prediction: Tensor = _whole("The class with the largest logit, of equal ones the first.")
    probability: Tensor = _real("Softmax probability of the true class, in [0, 1].", "p(true class)")
    confidence: Tensor = _real("Softmax probability of the predicted class, in [0, 1].", "confidence")
    loss: Tensor = _real("Cross-entropy of the true class.", "loss", "nats")
    rank: Tensor = _whole(
        "Number of classes with a larger logit than the true one; at least 1 where that is not the prediction."
    )
    runner_up: Tensor = _whole("The class with the largest logit but for the prediction, of equal ones the first.")
    encoded_bytes: Tensor = _whole(
        "Size of the encoded view, headers included, and of the original's own file; unknown where there is neither.",
        "bytes per image",
        "bytes",
        0,
    )
    bits_per_pixel: Tensor = _real("The same in bits per pixel of the source image.", "bits per pixel", "bits", 3)
    psnr: Tensor = _real(
        "Peak signal-to-noise ratio of the view against its original at native size, over all samples of the 8-bit RGB "
        "image; infinite where they are equal, which does not enter the mean.",
        "PSNR",
        "dB",
        2,
    )
    ssim: Tensor = _real(
        "Structural similarity (Wang et al., 2004) of the view and its original at native size, in [-1, 1].", "SSIM"
    )
    cosine: Tensor = _real(
        "Cosine between the embeddings of the view and of its own original, in [-1, 1]: 1 where nothing drifted.",
        "cosine to original",
    )
    encode_ms: Tensor = _time(
        "Processor time of encoding, all threads together: of a chain and of several saves the sum, of a view held to "
        "a rate that of all qualities tried; unknown where nothing was encoded, or not by this program.",
        "encode",
    )
    decode_ms: Tensor = _time(
        "Processor time of decoding, all threads together: of a chain and of several saves the sum, of a file of "
        "`ViewFolders` that of reading it, too; unknown where nothing was encoded, or the file is not the codec's own.",
        "decode",
    )

    def __len__(self) -> int:
        return len(self.index)

    @property
    def correct(self) -> Tensor:
        """Bool [B]: the prediction is the label."""
        return self.prediction == self.label

    @classmethod
    def from_logits(cls, logits: Tensor, labels: Tensor, indices: Tensor, **measured: Tensor) -> Self:
        """Reduce logits to outcomes, in float32 on their device; nothing waits for the device.

        Args:
            logits: float [B, C], at least two classes. A row with a logit that is not finite gets the confidence NaN,
                which `on_host` refuses.
            labels: Whole numbers [B], negative where there is none.
            indices: Whole numbers [B].
            **measured: Other quantities by name, [B]; those that are not given are unknown.
        """
        import torch

        logits = logits.float()
        labels = labels.long()
        first = logits.argmax(1, keepdim=True)  # of equal ones the first; topk may name any two of them
        prediction, runner_up = first[:, 0], logits.scatter(1, first, -math.inf).argmax(1)
        columns = torch.stack([labels.clamp_min(0), prediction], dim=1)
        true_log, log_confidence = logits.log_softmax(1).gather(1, columns).unbind(1)
        larger = (logits - logits.gather(1, columns[:, :1])).sign_().clamp_min_(0).sum(1)
        wrong = prediction != labels
        unlabelled, finite = labels < 0, logits.amin(1).isfinite()  # an infinite one has no log-probabilities
        found = {
            "index": indices,
            "label": labels,
            "prediction": prediction,
            "probability": true_log.exp().masked_fill(unlabelled, math.nan),
            "confidence": log_confidence.exp().masked_fill(~finite, math.nan),
            "loss": (-true_log).masked_fill(unlabelled, math.nan),
            "rank": torch.maximum(larger, wrong).masked_fill(unlabelled, UNKNOWN),
            "runner_up": runner_up,
            **measured,
        }
        blank = logits.new_full((1,), math.nan).expand(len(logits)), labels.new_full((1,), UNKNOWN).expand(len(logits))
        return cls(
            **{
                quantity.name: found.get(quantity.name, blank[quantity.dtype == "int32"]).to(quantity.torch_dtype)
                for quantity in QUANTITIES
            }
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All rows of several parts, at least one, in order; a single part is not copied."""
        if len(parts) == 1:
            return parts[0]
        import torch

        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in NAMES})

    def columns(self) -> dict[str, Tensor]:
        """All columns by the names of their quantities, each [B]."""
        return {name: getattr(self, name) for name in NAMES}

    def unique(self) -> Self:
        """The first row of every image, sorted by index; not copied where that is how the rows are."""
        if (self.index[1:] > self.index[:-1]).all():
            return self
        import torch

        order = self.index.argsort(stable=True)
        index = self.index[order]
        return self.select(order[torch.cat([index[:1] == index[:1], index[1:] != index[:-1]])])

    def select(self, rows: Tensor | slice) -> Self:
        """The rows that an index, a mask [B] or a slice picks."""
        return self._map(lambda column: column[rows])

    def to(self, device: torch.device | str) -> Self:
        """A copy of these rows in the memory of a device."""
        return self._map(lambda column: column.to(device))

    def on_host(self, views: Sequence[str]) -> dict[str, Self]:
        """Rows of several views, one view after the other, apart from each other in host memory; by a single copy.

        Args:
            views: Names; each has as many rows as any other.

        Raises:
            UserError: A logit was not finite.
        """
        import torch

        whole, real = (
            torch.stack([getattr(self, quantity.name) for quantity in QUANTITIES if quantity.dtype == dtype])
            for dtype in ("int32", "float32")
        )
        bits = (
            torch.cat([whole, real.view(torch.int32)]).cpu().view(len(QUANTITIES), len(views), -1 if len(self) else 0)
        )
        whole, real = bits[: len(whole)], bits[len(whole) :].view(torch.float32)
        _require_finite(whole[_WHOLE.index("index")], real[_REAL.index("confidence")])
        return {
            view: type(self)(
                **dict(zip(_WHOLE, whole[:, place].unbind(), strict=True)),
                **dict(zip(_REAL, real[:, place].unbind(), strict=True)),
            )
            for place, view in enumerate(views)
        }

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(**{name: function(column) for name, column in self.columns().items()})


def _quantity(column: Field[Tensor]) -> Quantity:
    title, *rest = column.metadata["about"]
    return Quantity(column.name, column.metadata["dtype"], title or column.name, *rest)


QUANTITIES = tuple(_quantity(column) for column in fields(Outcomes))
"""What is kept of each image in each view, in the order of the columns."""

NAMES = tuple(quantity.name for quantity in QUANTITIES)

_WHOLE, _REAL = ([one.name for one in QUANTITIES if one.dtype == dtype] for dtype in ("int32", "float32"))

REPEATABLE = tuple(quantity for quantity in QUANTITIES if not quantity.noisy)
"""Those that the same run gives again: the columns of the per-image table."""

MEASURED = tuple(quantity for quantity in QUANTITIES if quantity.decimals is not None)
"""Those whose mean over images, or median if they are noisy, is a metric."""


def _require_finite(index: Tensor, confidence: Tensor) -> None:
    broken = sorted(set(index[confidence.isnan()].tolist()))
    if broken:
        raise UserError(
            f"{len(broken)} images have logits that are not finite, the first is number {broken[0]}: the encoder "
            "overflows at this precision or its weights are damaged; try `precision='32-true'`",
            option="trainer.precision",
        )


def is_known(column: Tensor) -> Tensor:
    """Bool [B]: where a column holds a value that can enter a mean."""
    return column.isfinite() if column.is_floating_point() else column != UNKNOWN
