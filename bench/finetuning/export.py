"""Tuned weights as a file that any user of open_clip can load, and the card that belongs to it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.clip.blueprints import WEIGHTS_SUFFIXES
from bench.clip.configurations import DECLARED_PREPROCESSING
from bench.clip.encoders import Encoder
from bench.clip.weights import ACTIVATION_KEY, PREPROCESSING_KEY, Activation
from bench.finetuning.interpolation import interpolate
from bench.runs.files import write_atomically
from bench.runs.finetuning_record import FineTuningRecord
from bench.runs.method_text import in_words
from datamodules.text import printable

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


def export(
    folder: Path,
    name: str,
    shares: Iterable[float],
    ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    encoder: Encoder,
) -> dict[float, tuple[str, str]]:
    """Write weights between the original and the tuned ones, and what open_clip needs to build the model.

    Args:
        folder: Where to.
        name: Of the files, without extension.
        shares: Of the tuned weights, in [0, 1].
        ends: State dicts of the original and of the tuned model.
        encoder: The original.

    Returns:
        Name and SHA-256 of the file of each share.
    """
    if configuration(encoder) is not None:
        write_atomically(folder / f"{name}.json", json.dumps(encoder.config, indent=1) + "\n")
    files = {}
    provenance = encoder.provenance()
    about = {
        "tuned_from": str(provenance["weights_sha256"]),
        PREPROCESSING_KEY: json.dumps({name: provenance[name] for name in DECLARED_PREPROCESSING}),
    }
    for share in shares:
        file = f"{name}{'' if share == 1 else f'-{share:g}'}{CHECKPOINT_SUFFIX}"
        state = interpolate(*ends, share)
        files[share] = file, save_weights(state, folder / file, encoder.activation, alpha=f"{share:g}", **about)
    return files


def configuration(encoder: Encoder) -> Mapping[str, Any] | None:
    """The model configuration that a user of open_clip has to be given; None where open_clip has it."""
    import open_clip

    name = encoder.provenance()["architecture"]
    known = name in open_clip.list_models() and open_clip.get_model_config(name) == encoder.config
    return None if known else encoder.config


def _without_folder(pretrained: str) -> str:
    """A file's name alone, which is no news about a machine; tags and names of repositories stay as they are."""
    return Path(pretrained).name if Path(pretrained).suffix in WEIGHTS_SUFFIXES else pretrained


def model_card(record: FineTuningRecord, template: str, *, with_configuration: bool) -> str:
    """The card of what was tuned, in Markdown; its code runs in the folder of the exported files.

    Args:
        record: What `finetuning.json` holds.
        template: File of the template.
        with_configuration: Whether a model configuration lies beside the weights.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
    )
    environment.filters["in_words"] = in_words
    original = replace(record.original, pretrained=_without_folder(record.original.pretrained))
    training = {key: value for key, value in record.training.said().items() if key != "views"}
    return environment.get_template(template).render(
        vars(record)
        | {
            "before": record.before,
            "after": record.after,
            "original": original,
            "training": training,
            "views": record.training.views,
            "architecture": record.name if with_configuration else record.original.architecture,
            "config": f"{record.name}.json" if with_configuration else None,
        }
    )
