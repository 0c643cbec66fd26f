"""Read a weights file safely, and learn from it which activation its model was trained with."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor, nn

from bench.clip.archives import Tensors, read_contents
from bench.clip.pickles import StoredTensor
from datamodules.errors import UserError
from datamodules.files import open_regular
from datamodules.text import printable

Activation = Literal["quickgelu", "gelu"]
ACTIVATION_KEY = "activation"  # in the metadata of a safetensors file
PREPROCESSING_KEY = "preprocessing"  # there, as JSON
_LONGEST_PREPROCESSING = 1000  # characters

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_OPENAI_MARKERS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class Declaration:
    """One statement about the activation that some weights need: what, and who says so."""

    activation: Activation
    source: str


@dataclass(frozen=True)
class Weights:
    """Contents of a weights file.

    Attributes:
        path: The file.
        sha256: Hex digest of the file.
        tensors: Tensors by name, as stored.
        declarations: What the file itself says about its activation.
        preprocessing: What the file itself says about the mean, the standard deviation, the interpolation and the
            resize mode that it was tuned with, unchecked; empty where it says nothing.
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    declarations: tuple[Declaration, ...]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Read a weights file without ever running code from it.

    Accepts safetensors, a pickled state dict (possibly inside a "state_dict" entry, names possibly prefixed with
    "module."), and a TorchScript archive like OpenAI's.

    Args:
        path: The file.

    Raises:
        UserError: the file is missing, damaged, holds more than weights, or is in another format.
    """
    with open_regular(path, "weights file") as file:
        try:
            tensors, declarations, preprocessing = _read(path, file)
        except pickle.UnpicklingError as error:
            raise UserError(
                f"weights file {path} is no plain state dict and was not loaded, nothing in it was run"
                f" ({one_line(error, named=False)}): save the state dict alone, best as safetensors"
            ) from None
        except (UserError, MemoryError):
            raise
        except Exception as error:
            raise UserError(
                f"weights file {path} cannot be read ({one_line(error)}): is it damaged or another format?"
            ) from None
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # an ordinary file
    return Weights(path, digest, tensors, tuple(declarations), preprocessing)


_Content = tuple[dict[str, Tensor], list[Declaration], Mapping[str, Any]]


def _read(path: Path, file: BinaryIO) -> _Content:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    contents = read_contents(file)
    declarations = []
    # CLIP has no other sigmoid: QuickGELU is x * sigmoid(1.702 * x)
    if "torch.sigmoid(" in contents.code:
        declarations.append(Declaration("quickgelu", f"the program in {path.name}"))
    if "torch.gelu(" in contents.code:
        declarations.append(Declaration("gelu", f"the program in {path.name}"))
    entries = _state_dict(contents.entries, path)
    if any(marker in entries for marker in _OPENAI_MARKERS):
        declarations.append(Declaration("quickgelu", f"{path.name} is in OpenAI's format"))
    made = Tensors(contents.numbers)
    tensors = {}
    for name, value in entries.items():
        if name in _OPENAI_MARKERS:
            continue
        if not isinstance(value, StoredTensor):
            raise UserError(
                f"weights file {path} holds {shortened(name)}, which is no tensor: save the state dict alone"
            )
        try:
            tensors[name] = made.make(value)
        except pickle.UnpicklingError as error:
            raise UserError(
                f"weights file {path} is unusable: its tensor {shortened(name)} {one_line(error, named=False)}; save"
                " ordinary tensors of float32, float16 or bfloat16"
            ) from None
    return tensors, declarations, {}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy weights into a model, all of them and nothing else, in the model's precision.

    Args:
        model: The model to fill.
        weights: What `read_weights` returned.

    Raises:
        UserError: a tensor is missing, left over, of another shape or not finite; the message names the first one.
    """
    tensors = _renamed(weights.tensors, model)
    expected = model.state_dict()
    for name, parameter in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            if name.endswith("num_batches_tracked"):  # unused in evaluation and absent from old checkpoints
                continue
            raise UserError(f"{weights.path} does not fit the encoder: it lacks {name} {list(parameter.shape)}")
        if tensor.shape != parameter.shape:
            raise UserError(
                f"{weights.path} does not fit the encoder: {name} is {list(tensor.shape)} in the file"
                f" and {list(parameter.shape)} in the encoder"
            )
        if tensor.dtype not in _DTYPES and parameter.is_floating_point():
            raise UserError(
                f"{weights.path} does not fit the encoder: {name} holds {str(tensor.dtype).removeprefix('torch.')};"
                " save it as float32, float16 or bfloat16"
            )
        if tensor.is_floating_point() and not _all_finite(tensor):
            raise UserError(f"{weights.path} holds values that are not finite, first in {name}: the file is unusable")
    for name, tensor in tensors.items():
        if name not in expected:
            raise UserError(
                f"{weights.path} does not fit the encoder: it has {shortened(name)} {list(tensor.shape)},"
                " which the encoder lacks"
            )
    model.load_state_dict(tensors)


def _all_finite(tensor: Tensor) -> bool:
    """A finite sum has finite terms, and is soon had; finite terms may have another sum."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _read_safetensors(path: Path) -> _Content:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        entries = _state_dict({name: file.get_tensor(name) for name in file.keys()}, path)  # noqa: SIM118 (not a dict)
    declared, preprocessing = metadata.get(ACTIVATION_KEY), _preprocessing(path, metadata.get(PREPROCESSING_KEY))
    if declared is None:
        return entries, [], preprocessing
    if declared not in ("quickgelu", "gelu"):
        raise UserError(
            f"weights file {path} declares the activation '{shortened(declared)}': only quickgelu and gelu are known"
        )
    return entries, [Declaration(declared, f"the metadata of {path.name}")], preprocessing


def _preprocessing(path: Path, declared: str | None) -> Mapping[str, Any]:
    if declared is None:
        return {}
    try:
        content = json.loads(declared) if len(declared) <= _LONGEST_PREPROCESSING else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"weights file {path} declares the preprocessing '{shortened(declared)}', which is none")
    return content


def _state_dict(entries: Any, path: Path) -> dict[str, Any]:
    """What was saved, without its usual wrappings: an entry "state_dict", names that begin with "module."."""
    if isinstance(entries, dict) and isinstance(entries.get("state_dict"), dict):
        fitted = "pytorch-lightning_version" in entries
        entries = entries["state_dict"]
        if fitted and any(str(name).startswith("model.visual.") for name in entries):
            raise UserError(
                f"weights file {path} is the checkpoint of a fit: give the .safetensors file that the fit exported"
            )
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"weights file {path} holds no state dict but a {type(entries).__name__}: save the state dict")
    for name in entries:
        if not isinstance(name, str):
            raise UserError(f"weights file {path} names a tensor by a {type(name).__name__}: save the state dict alone")
    if all(name.startswith("module.") for name in entries):
        entries = {name.removeprefix("module."): value for name, value in entries.items()}
    return dict(entries)


def _renamed(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Bring the layouts that open_clip knows into the model's: other exporters' names, scalars stored as [1]."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    tensors = dict(convert_state_dict(model, tensors))
    if "positional_embedding" in tensors and not hasattr(model, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    for name in ("logit_scale", "logit_bias"):
        target = getattr(model, name, None)
        if name in tensors and target is not None and tensors[name].numel() == target.numel():
            tensors[name] = tensors[name].reshape(target.shape)
    # constants that some exporters store and the model computes, such as the causal mask
    for name in {name for name, _ in model.named_buffers()}.difference(model.state_dict()):
        tensors.pop(name, None)
    return tensors


def one_line(error: BaseException, *, named: bool = True) -> str:
    """An exception's message on one line of at most 200 printable characters, behind its type where that is named."""
    return shortened(" ".join((f"{type(error).__name__}: {error}" if named else str(error)).split()), 200)


def shortened(text: str, most: int = 100) -> str:
    r"""What a file says, with every character showing and no longer than it takes to recognise it.

    >>> shortened("a" * 200)[-6:], shortened("\x1b[31m")
    ('aaa...', '\\x1b[31m')
    """
    text = printable(text[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."
