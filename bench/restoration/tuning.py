"""Training of a front end, in the pixels or through the frozen encoder behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from bench.clip.linear_resize import resize_linearly
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning.export import CHECKPOINT_SUFFIX, save_weights
from bench.finetuning.integrity import require_finite
from bench.finetuning.interpolation import interpolate
from bench.finetuning.objectives import Objective
from bench.finetuning.robust import RobustFineTuning
from bench.finetuning.trainable import Trainable
from bench.finetuning.tuning import Ends
from bench.paper import TEMPLATE
from bench.restoration.files import metadata
from bench.restoration.network import Restoration, Shape, stacks
from bench.restoration.objectives import RestoredPairs
from datamodules.degradations import ORIGINAL
from datamodules.training import RANDOM
from datamodules.views import Batch, Images


@dataclass(frozen=True)
class FrontEnd(Shape, Trainable):
    """A network before the image tower, which itself learns nothing."""

    def release(self, tower: nn.Module) -> frozenset[str]:
        """Leave the tower as it is."""
        return frozenset()


class RestorationTuning(RobustFineTuning):
    """Trains a small residual network that restores pixels before the encoder, all of which stays as it is.

    The network works on the pixels that a batch brings: an image's own where they are fewer than the encoder's input
    has, else those that the loader has fitted to it; in training and in testing alike. It learns in floating point,
    through a resize that neither rounds nor, in between, clips; validation and tests restore bytes and round them, so
    that what is measured is what a file of the restored image would give.

    Args:
        objective: What is minimised: `bench.restoration.PixelError`, which is of the pixels alone, any of
            `bench.finetuning`, which see the restored images through the frozen encoder, or a sum.
        layers: Number of convolutions, from 2 to 32.
        channels: Between them, from 1 to 256.
        encoder: As for `bench.ZeroShotEvaluation`.
        pretrained: As for `bench.ZeroShotEvaluation`.
        activation: As for `bench.ZeroShotEvaluation`.
        templates: As for `bench.ZeroShotEvaluation`.
        learning_rate: At its peak, above 0.
        weight_decay: AdamW's, for kernels only, at least 0.
        warmup: Share of all steps in which the learning rate rises, in [0, 1).

    Raises:
        UserError: The encoder, its weights, the prompts or a number is unusable.

    >>> from bench.restoration import PixelError
    >>> demo = ("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")
    >>> RestorationTuning(PixelError(), 6, 32, *demo).method()["trained_parameters"]
    38755

    `Trainer(max_epochs=3).fit(module, data)` trains it; `callbacks.FineTuningWriter` exports a file for
    `bench.ZeroShotEvaluation(restoration=...)`.
    """

    card = "restoration_card.md.j2"

    def __init__(
        self,
        objective: Objective,
        layers: int = 6,
        channels: int = 32,
        encoder: str = "ViT-B/32",
        pretrained: str | None = "openai",
        activation: Literal["quickgelu", "gelu"] | None = None,
        templates: Sequence[str] | str = (TEMPLATE,),
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.1,
    ) -> None:
        shape = FrontEnd(layers, channels)
        super().__init__(
            objective, shape, encoder, pretrained, activation, templates, learning_rate, weight_decay, warmup
        )
        self.restoration = Restoration(shape)
        self._untrained = {name: tensor.clone() for name, tensor in self.restoration.state_dict().items()}

    def student(self, images: Images, view: str) -> Tensor:
        """Embeddings [B, D] of images that are restored to bytes first."""
        return self.embed(self.tower, self.restoration.restore(images))

    def pairs(self, batch: Batch) -> RestoredPairs:
        """What objectives may ask of a batch; the tower sees restored pixels in floating point."""
        originals, degraded = stacks(batch.views[ORIGINAL]), stacks(batch.views[RANDOM])
        make = partial(
            RestoredPairs,
            originals=originals,
            restore_original=lambda: [self.restoration(pixels) for pixels in originals],
            restore_degraded=lambda: [self.restoration(pixels) for pixels in degraded],
        )
        pairs = self.paired(
            make,
            batch,
            embed_original=lambda: self._seen(pairs.restored_original),
            embed_degraded=lambda: self._seen(pairs.restored_degraded),
        )
        return pairs

    def _seen(self, restored: Iterable[Tensor]) -> Tensor:
        """Embeddings of restored pixels, differentiable."""
        with torch.autocast(self.device.type, enabled=False):
            inputs = [resize_linearly(self.preprocess, pixels.clamp(0, 1)).clamp(0, 1) for pixels in restored]
        return self.encode(self.tower, self.preprocess.normalise(torch.cat(inputs)))

    def ends(self) -> Ends:
        """The network that gives back what it is given, and the trained one.

        Raises:
            RuntimeError: A weight of the encoder has changed.
            UserError: A weight is not finite.
        """
        super().ends()  # which looks at the encoder
        state = {name: tensor.detach().cpu().clone() for name, tensor in self.restoration.state_dict().items()}
        require_finite(state.values())
        return self._untrained, state

    def classifier(self, state: Mapping[str, Tensor]) -> ZeroShotClassifier:
        """The encoder behind a network with these weights, as a test has it, on this module's device."""
        network = Restoration.with_weights(self.restoration.shape, state)
        names = self.data.class_names
        return ZeroShotClassifier(self.encoder, names, self.templates, self.text, network).to(self.device)

    def export(self, folder: Path, name: str, shares: Iterable[float], ends: Ends) -> dict[float, tuple[str, str]]:
        """Write networks between the one that changes nothing and the trained one, as safetensors."""
        files, method = {}, self.method()
        said = metadata(self.restoration.shape, {"objective": method["objective"], "encoder": self.source[0]})
        for share in shares:
            file = f"{name}{'' if share == 1 else f'-{share:g}'}{CHECKPOINT_SUFFIX}"
            state = interpolate(*ends, share)
            files[share] = file, save_weights(state, folder / file, None, alpha=f"{share:g}", **said)
        return files
