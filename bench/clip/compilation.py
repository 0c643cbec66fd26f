"""A frozen encoder compiled by `torch.compile`."""

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from bench.clip.weights import one_line

IMAGES_PER_PASS = 32  # of a compiled encoder: activations of more do not fit a processor's cache


class CompiledEncoder:
    """Embeds images with a compiled model, no gradient being kept.

    Compiled at the first call, for passes of one size; what is left over after cutting a batch goes through the model
    itself. Where compiling fails, everything does, after one line.

    Args:
        model: open_clip's, in evaluation mode.
        images: Per pass, at least 1.
    """

    def __init__(self, model: nn.Module, images: int = IMAGES_PER_PASS) -> None:
        self.model, self.images, self.works = model, images, True
        self._compiled = torch.compile(model.encode_image, dynamic=False)  # type: ignore[arg-type]  # a method

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of normalised images [B, 3, S, S], as CLIP leaves them: not of unit length."""
        with torch.no_grad():
            whole = len(images) - len(images) % self.images if self.works else 0
            parts = []
            if whole:
                try:
                    parts = [self._compiled(part) for part in torch.split(images[:whole], self.images)]
                except Exception as error:  # whatever the tool chain drove it to
                    self.works, whole = False, 0
                    rank_zero_info(f"the encoder runs uncompiled: {one_line(error)} (leave --model.compile out)")
            if whole < len(images):
                parts.append(self.model.encode_image(images[whole:]))  # type: ignore[operator]
            return torch.cat(parts)
