"""Random weights in files that the benchmark loads like any other: speed does not depend on what was learnt."""

from pathlib import Path

import torch

from bench.clip.towers import built_activations
from bench.finetuning.export import save_weights
from bench.paper import OPENAI_ENCODERS, canonical_encoder

ARCHITECTURES = {"ViT-B/32": "ViT-B-32-quickgelu", "RN50": "RN50-quickgelu"}
"""open_clip's names of the encoders that are timed."""


def random_checkpoint(encoder: str, folder: Path) -> Path:
    """Write one for `--model.pretrained`.

    Args:
        encoder: Of `ARCHITECTURES`, or any name of open_clip's.
        folder: Where to.
    """
    import open_clip

    torch.manual_seed(0)
    name = f"{canonical_encoder(encoder)}-quickgelu" if encoder in OPENAI_ENCODERS else encoder
    model = open_clip.create_model(name)
    path = folder / f"{name}.safetensors"
    (activation,) = built_activations(model)
    save_weights(model.state_dict(), path, "quickgelu" if activation == "quickgelu" else "gelu")
    return path
