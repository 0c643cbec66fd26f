"""Text classifiers kept on disk, so that a sweep over data or views, or a rerun, does not embed its prompts again."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.clip.encoders import Encoder
from bench.clip.text_classifier import (
    Watch,
    check_prompts,
    cut_prompts,
    from_tokens,
    prompts_of,
    text_classifier,
    tokenise,
    warn_if_cut,
)
from bench.clip.weights import one_line
from bench.runs.files import read_bounded, write_atomically
from datamodules.errors import UserError
from datamodules.notices import say

FOLDER_VARIABLE = "CLIP_BENCH_CACHE"
"""Environment variable that names the folder of the cache; empty, nothing is kept."""

_FORMAT = 1  # of the files, and of how the embeddings in them are made
_HEADER = 2**14  # bytes that a file may have beside its tensors
_UNIT = 1e-4  # how far the length of a row may be from 1


def kept_text_classifier(
    encoder: Encoder, class_names: Sequence[str], templates: Sequence[str], watch: Watch | None = None
) -> Tensor:
    """The text classifier from the cache, or made as `text_classifier` does and put there.

    A file is found by the hash of the weights, what the tokenizer does, the prompts, the type of the device and the
    precision of its matrix products. One that is not as it was written is made again. Encoders without a hash of their
    weights, and tokenizers that draw at random, are not kept.

    Args:
        encoder: The CLIP that embeds the prompts; its text tower is as its file has it.
        class_names: As for `text_classifier`.
        templates: As for `text_classifier`.
        watch: As for `text_classifier`.

    Raises:
        UserError: As `text_classifier` does.
    """
    check_prompts(class_names, templates)
    folder = cache_folder()
    if folder is None or encoder.provenance()["weights_sha256"] is None or _draws(encoder.tokenizer):
        return text_classifier(encoder, class_names, templates, watch)
    prompts, tokens = prompts_of(class_names, templates), None
    if not _is_clips_own(encoder.tokenizer):
        tokens = tokenise(encoder, prompts, watch)  # which says what the tokenizer does, and takes little time
    file = folder / f"{_key(encoder, class_names, templates, tokens)}.safetensors"
    kept = _read(file, len(class_names), int(encoder.config["embed_dim"]), len(prompts))
    if kept is None:
        tokens = tokenise(encoder, prompts, watch) if tokens is None else tokens
        text, cut = from_tokens(encoder, tokens, len(class_names), watch), cut_prompts(encoder, prompts, tokens)
        _write(file, text, cut)
    else:
        text, cut = kept
    warn_if_cut(encoder, prompts, *cut)
    return text.to(next(encoder.model.parameters()).device)


def cache_folder() -> Path | None:
    """Where text classifiers are kept: `$CLIP_BENCH_CACHE`, else below the user's cache; None where nothing is kept."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named).expanduser() / "text" if named else None
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # nobody's home is known
        return None
    return Path(base) / "clip-compression-bench" / "text"


def _is_clips_own(tokenizer: Any) -> bool:
    from open_clip import SimpleTokenizer

    return type(tokenizer) is SimpleTokenizer


def _draws(tokenizer: Any) -> bool:
    return getattr(tokenizer, "reduction_fn", None) is not None


def _key(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str], tokens: Tensor | None) -> str:
    provenance = encoder.provenance()
    facts = {
        "format": _FORMAT,
        "classes": list(class_names),
        "templates": list(templates),
        "tokens": None if tokens is None else hashlib.sha256(tokens.numpy().tobytes()).hexdigest(),
        "config": encoder.config,  # which has the tokenizer's options
        **{name: provenance[name] for name in ("weights_sha256", "activation", "context_length", "open_clip")},
        "device": next(encoder.model.parameters()).device.type,
        "precision": torch.get_float32_matmul_precision(),
        "torch": str(torch.__version__),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()


def _read(file: Path, classes: int, width: int, prompts: int) -> tuple[Tensor, tuple[int, int]] | None:
    """A classifier and what was cut; None where there is none, or the file is no such file."""
    from safetensors.torch import load

    try:
        content = load(read_bounded(file, 4 * classes * width + _HEADER))
        text, cut = content["text"], content["cut"]
        fits = (text.dtype, text.shape) == (torch.float32, (classes, width)) and bool(
            ((text.norm(dim=1) - 1).abs() < _UNIT).all()
        )
        fits = fits and (cut.dtype, cut.shape) == (torch.int64, (2,))
        count, first = map(int, cut)
        fits = fits and 0 <= count <= prompts and 0 <= first < prompts
    except Exception:  # whatever a broken file drives the reader to, the classifier is made again
        return None
    return (text, (count, first)) if fits else None


def _write(file: Path, text: Tensor, cut: tuple[int, int]) -> None:
    from safetensors.torch import save

    content = save({"text": text.cpu().contiguous(), "cut": torch.tensor(cut)})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(f"{file} is a folder")
        with suppress(FileNotFoundError):
            if not file.is_file() or file.is_symlink():
                file.unlink()
        write_atomically(file, content)
    except (OSError, UserError) as error:
        say(
            f"the text classifier cannot be kept in {str(file.parent)!r} ({one_line(error)}), so the next run makes it "
            f"again: name another folder with the environment variable {FOLDER_VARIABLE}"
        )
