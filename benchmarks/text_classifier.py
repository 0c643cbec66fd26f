"""What a text classifier costs: `python -m benchmarks.text_classifier [--encoder ViT-B-32] [--classes 30]`.

ImageNet's 80 prompts with the first so many of its class names, random weights. Contestants take turns, in processor
seconds of one thread: the embedding as it is, and open_clip's `encode_text` of 256 prompts of full length at a time,
which it was before. Then a rerun, which finds the classifier in the cache, of all 1,000 classes.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from bench.clip import kept_classifiers
from bench.clip.encoders import Encoder, load_encoder
from bench.clip.text_classifier import from_tokens, prompts_of, tokenise
from bench.clip.text_towers import embed_tokens
from benchmarks.checkpoints import random_checkpoint
from benchmarks.timing import machine, ratios, spread, take_turns
from datamodules.imagenet import class_names

_PROMPTS_PER_PASS = 256


def at_full_length(encoder: Encoder, tokens: Tensor, classes: int) -> Tensor:
    """As it was before, for comparison."""
    with torch.no_grad():
        parts = [embed_tokens(encoder.model, part) for part in _passes(tokens)]
    return functional.normalize(torch.cat(parts).view(classes, -1, parts[0].shape[1]).mean(1), dim=1)


def _passes(tokens: Tensor) -> list[Tensor]:
    return [tokens[start : start + _PROMPTS_PER_PASS] for start in range(0, len(tokens), _PROMPTS_PER_PASS)]


def main() -> None:
    """Measure and print."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", default="ViT-B-32")
    parser.add_argument("--classes", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        encoder = load_encoder(options.encoder, str(random_checkpoint(options.encoder, Path(folder))))
    templates = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    every = list(class_names().values())
    names = every[: options.classes]
    tokens = tokenise(encoder, prompts_of(names, templates))
    made: dict[str, Tensor] = {}
    seconds = take_turns(
        {
            "cut": lambda: made.update(cut=from_tokens(encoder, tokens, len(names))),
            "full length": lambda: made.update(full=at_full_length(encoder, tokens, len(names))),
        },
        options.rounds,
        warmup=0,
        clock=time.thread_time,
    )
    for name, values in seconds.items():
        print(f"{len(tokens):,} prompts, {name}: {spread(values)} s")
    print(f"times as fast: {spread(ratios(seconds['full length'], seconds['cut']))}")
    print(f"largest difference: {(made['cut'] - made['full']).abs().max():.1e}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[kept_classifiers.FOLDER_VARIABLE] = folder
        random = functional.normalize(torch.randn(len(every), int(encoder.config["embed_dim"])), dim=1)
        with patch("bench.clip.kept_classifiers.from_tokens", lambda *_: random):
            for what in ("first (without the tower)", "again"):
                start = time.perf_counter()
                kept_classifiers.kept_text_classifier(encoder, every, templates)
                print(f"80,000 prompts, {what}: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
