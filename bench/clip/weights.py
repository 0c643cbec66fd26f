"""Read a weights file safely, and learn from it which activation its model was trained with."""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from datamodules.errors import UserError

Activation = Literal["quickgelu", "gelu"]
ACTIVATION_KEY = "activation"  # in the metadata of a safetensors file

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
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    declarations: tuple[Declaration, ...]


def read_weights(path: Path) -> Weights:
    """Read a weights file without ever running code from it.

    Accepts safetensors, a pickled state dict (possibly inside a "state_dict" entry, names possibly prefixed with
    "module."), and a TorchScript archive like OpenAI's.

    Args:
        path: The file.

    Raises:
        UserError: the file is missing, damaged, holds more than weights, or is in another format.
    """
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist: check the path")
    try:
        if path.suffix == ".safetensors":
            entries, declarations = _read_safetensors(path)
        elif _is_torchscript(path):
            entries, declarations = _read_torchscript(path)
        else:
            entries, declarations = _read_pickle(path)
    except UserError:
        raise
    except pickle.UnpicklingError:
        raise UserError(
            f"weights file {path} is no plain state dict and was not loaded, nothing in it was run: save the state dict"
            " alone, best as safetensors"
        ) from None
    except Exception as error:
        raise UserError(
            f"weights file {path} cannot be read ({one_line(error)}): is it damaged or another format?"
        ) from None
    tensors, markers = _unwrap(entries, path)
    if markers:
        declarations.append(Declaration("quickgelu", f"{path.name} is in OpenAI's format"))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Weights(path, digest, tensors, tuple(declarations))


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
        if not torch.isfinite(tensor).all():
            raise UserError(f"{weights.path} holds values that are not finite, first in {name}: the file is unusable")
    for name, tensor in tensors.items():
        if name not in expected:
            raise UserError(
                f"{weights.path} does not fit the encoder: it has {name} {list(tensor.shape)}, which the encoder lacks"
            )
    model.load_state_dict(tensors)


def _read_safetensors(path: Path) -> tuple[Mapping[str, Any], list[Declaration]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        declared = (file.metadata() or {}).get(ACTIVATION_KEY)
        entries = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if declared is None:
        return entries, []
    if declared not in ("quickgelu", "gelu"):
        raise UserError(f"weights file {path} declares the activation {declared!r}: only quickgelu and gelu are known")
    return entries, [Declaration(declared, f"the metadata of {path.name}")]


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _read_torchscript(path: Path) -> tuple[Mapping[str, Any], list[Declaration]]:
    with zipfile.ZipFile(path) as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if "/code/" in name and name.endswith(".py"))
    declarations = []
    # CLIP has no other sigmoid: QuickGELU is x * sigmoid(1.702 * x)
    if b"torch.sigmoid(" in code:
        declarations.append(Declaration("quickgelu", f"the program in {path.name}"))
    if b"torch.gelu(" in code:
        declarations.append(Declaration("gelu", f"the program in {path.name}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; OpenAI's files are what they are
        archive_model = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        return archive_model.state_dict(), declarations


def _read_pickle(path: Path) -> tuple[Mapping[str, Any], list[Declaration]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True), []


def _unwrap(entries: Any, path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors by plain name, and whether OpenAI's extra entries were among them."""
    if isinstance(entries, Mapping) and isinstance(entries.get("state_dict"), Mapping):
        entries = entries["state_dict"]
    if not isinstance(entries, Mapping) or not entries:
        raise UserError(f"weights file {path} holds no state dict but a {type(entries).__name__}: save the state dict")
    if all(str(name).startswith("module.") for name in entries):
        entries = {name.removeprefix("module."): value for name, value in entries.items()}
    for name, value in entries.items():
        if not isinstance(value, Tensor) and name not in _OPENAI_MARKERS:
            raise UserError(f"weights file {path} holds {name!r}, which is no tensor: save the state dict alone")
    tensors = {name: value for name, value in entries.items() if name not in _OPENAI_MARKERS}
    return tensors, len(tensors) < len(entries)


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


def one_line(error: BaseException) -> str:
    """An exception's type and message on one line of at most 200 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else text[:197] + "..."
