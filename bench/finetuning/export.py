"""Tuned weights as a file that any user of open_clip can load, and the card that belongs to it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.clip.weights import ACTIVATION_KEY, Activation
from bench.runs.files import write_atomically
from bench.runs.finetuning_record import in_words

CHECKPOINT_SUFFIX = ".safetensors"


def save_weights(state: Mapping[str, Tensor], path: Path, activation: Activation | None, **metadata: str) -> str:
    """Write a state dict as safetensors, whole or not at all; the activation goes into its metadata.

    Returns:
        SHA-256 of the file, as `bench.clip.weights.read_weights` and result records have it.
    """
    from safetensors.torch import save

    known = {} if activation is None else {ACTIVATION_KEY: activation}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    content = save(tensors, {"format": "pt", **known, **metadata})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def model_card(record: Mapping[str, Any]) -> str:
    """The card of a tuned encoder, in Markdown.

    Args:
        record: What `finetuning.json` holds.
    """
    original, data, draws = record["original"], record["data"], record["training"]["views"]
    ranges = ", ".join(f"{codec} at {low} to {high}" for codec, (low, high) in draws["codecs"].items())
    file = record["exports"][-1]["file"]
    quickgelu = ", force_quick_gelu=True" if original["activation"] == "quickgelu" else ""
    parameters = record["method"].get("trained_parameters")
    lines = [
        f"# {original['encoder']}, tuned for robustness to image compression",
        "",
        f"The image tower of {original['encoder']} (`{original['pretrained']}`, SHA-256 "
        f"`{original['weights_sha256']}`) after fine-tuning. The text tower and the logit scale are untouched, bit for "
        "bit, and so are statistics of BatchNorm: prompts and text embeddings made for the original still hold.",
        "",
        "## Use",
        "",
        "```python",
        "import open_clip",
        "",
        f'model = open_clip.create_model("{original["architecture"]}", pretrained="{file}"{quickgelu})',
        "```",
        "",
        f"Inputs are resized ({original['interpolation']}) to {original['image_size']} pixels and normalised with mean "
        f"{original['mean']} and standard deviation {original['std']}, as for the original.",
        "",
        "## Method",
        "",
        f"- objective: {in_words(record['method']['objective'])}",
        f"- trained: {in_words(record['method']['trainable'])}" + (f", {parameters:,} numbers" if parameters else ""),
        *(f"- {name.replace('_', ' ')}: {value}" for name, value in record["training"].items() if name != "views"),
        "",
        "## Data",
        "",
        f"- images: {sum(record['images_per_class'].values()):,} of {data['name']}, {data['split']} split (content "
        f"`{data['content']}`); classes: {', '.join(record['images_per_class'])}",
        f"- random views: {ranges}; {draws['law']} qualities; {draws['clean']:.0%} clean; {draws['flip']:.0%} mirrored",
        f"- seeds: {', '.join(f'{name} {seed}' for name, seed in record['seeds'].items())}",
        "",
        "## Before and after",
        "",
        f"Precision (top-1 accuracy) on {record['validation_images']:,} held-out images of the same split, which "
        "choices may have been made on. Only a test on images and qualities never used says how robust the model is.",
        "",
        "| view | before | after | change |",
        "|---|---|---|---|",
    ]
    before, after = (record["metrics"][when] for when in ("before", "after"))
    lines += [
        f"| {view} | {before[view]['precision']:.4f} | {values['precision']:.4f} | "
        f"{values['precision'] - before[view]['precision']:+.4f} |"
        for view, values in after.items()
    ]
    lines += ["", "## Weights", ""]
    lines += [
        f"- `{one['file']}`: {one['alpha']:g} of the tuned weights, {1 - one['alpha']:g} of the original's; SHA-256 "
        f"`{one['sha256']}`"
        for one in record["exports"]
    ]
    return "\n".join(lines) + "\n"
