"""Outcomes: what remains of the logits once an image has been classified."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from datamodules.errors import UserError


@dataclass
class Outcomes:
    """One row per image of one view; metrics, tables, statistics and selections read nothing else.

    Attributes:
        index: int64 [B], position in the source.
        label: int64 [B], -1 where unlabelled.
        prediction: int64 [B], the class with the largest logit.
        probability: float32 [B] in [0, 1], softmax probability of the true class; NaN where unlabelled.
        confidence: float32 [B] in [0, 1], probability of the prediction.
        loss: float32 [B], cross-entropy of the true class in nats; NaN where unlabelled.
        rank: int64 [B], number of classes ranked before the true one; -1 where unlabelled.
        encoded_bytes: int64 [B], size of the encoded view; -1 where nothing was encoded.
        bits_per_pixel: float32 [B], of the encoded view per pixel of the source image; NaN where nothing was encoded.
        psnr: float32 [B], see `bench.fidelity`; NaN where not measured.
        ssim: float32 [B], see `bench.fidelity`; NaN where not measured.
    """

    index: Tensor
    label: Tensor
    prediction: Tensor
    probability: Tensor
    confidence: Tensor
    loss: Tensor
    rank: Tensor
    encoded_bytes: Tensor
    bits_per_pixel: Tensor
    psnr: Tensor
    ssim: Tensor

    def __len__(self) -> int:
        return len(self.index)

    @property
    def correct(self) -> Tensor:
        """Bool [B]: the prediction is the label."""
        return self.prediction == self.label

    @classmethod
    def from_logits(cls, logits: Tensor, labels: Tensor, indices: Tensor, encoded_bytes: Tensor) -> Self:
        """Reduce logits [B, C] to outcomes, in float32, of views that are not measured otherwise.

        Raises:
            UserError: A logit is not finite.

        >>> one = torch.ones(1, dtype=torch.int64)
        >>> Outcomes.from_logits(torch.tensor([[0.0, 2.0, 1.0]]), one * 2, one, one).rank
        tensor([1])
        """
        logits = logits.float()
        if not torch.isfinite(logits).all():
            broken = indices[~torch.isfinite(logits).all(1)].tolist()
            raise UserError(
                f"{len(broken)} images have logits that are not finite, the first is number {broken[0]}: the encoder "
                "overflows at this precision or its weights are damaged; try --trainer.precision 32-true"
            )
        unlabelled = labels < 0
        column = labels.clamp_min(0)[:, None]
        log_probabilities = logits.log_softmax(1)
        true_log_probability = log_probabilities.gather(1, column)[:, 0]
        prediction = logits.argmax(1)
        true_logit = logits.gather(1, column)
        earlier = torch.arange(logits.shape[1], device=logits.device)[None] < column
        before = (logits > true_logit) | ((logits == true_logit) & earlier)
        unknown = torch.full_like(true_log_probability, torch.nan)
        return cls(
            index=indices,
            label=labels,
            prediction=prediction,
            probability=true_log_probability.exp().masked_fill(unlabelled, torch.nan),
            confidence=log_probabilities.amax(1).exp(),
            loss=(-true_log_probability).masked_fill(unlabelled, torch.nan),
            rank=before.sum(1).masked_fill(unlabelled, -1),
            encoded_bytes=encoded_bytes,
            bits_per_pixel=unknown,
            psnr=unknown,
            ssim=unknown,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All rows of several parts, at least one, in order; a single part is not copied."""
        if len(parts) == 1:
            return parts[0]
        return cls(**{name.name: torch.cat([getattr(part, name.name) for part in parts]) for name in fields(cls)})

    @classmethod
    def from_columns(cls, columns: Mapping[str, Tensor], prefix: str = "") -> Self:
        """Outcomes of columns by name, with a prefix before each name."""
        return cls(**{name.name: columns[prefix + name.name] for name in fields(cls)})

    def unique(self) -> Self:
        """The first row of every image, sorted by index; not copied where that is how the rows are."""
        if (self.index[1:] > self.index[:-1]).all():
            return self
        order = self.index.argsort(stable=True)
        index = self.index[order]
        return self.select(order[torch.cat([index[:1] == index[:1], index[1:] != index[:-1]])])

    def select(self, rows: Tensor) -> Self:
        """The rows that an index or mask [B] picks."""
        return self._map(lambda column: column[rows])

    def to(self, device: torch.device | str) -> Self:
        """The same in the memory of a device."""
        return self._map(lambda column: column.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(**{name.name: function(getattr(self, name.name)) for name in fields(self)})
