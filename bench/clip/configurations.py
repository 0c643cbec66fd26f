"""Model configurations in JSON, which may come from strangers: read within bounds, and checked before they are used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.clip.weights import Weights, one_line
from datamodules.errors import UserError
from datamodules.files import open_regular

_MOST_BYTES = 2**20
_DEEPEST = 8
_LARGEST = 10**6  # of any number, sizes of vocabularies included
_MOST_LAYERS = 1000
_PARTS = ("vision_cfg", "text_cfg", "multimodal_cfg")

DECLARED_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
"""What a file of tuned weights says about the preprocessing, open_clip's defaults or not."""


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's part of a configuration file, or of a hub repository's open_clip_config.json, and its preprocessing.

    Raises:
        UserError: The file is missing, no such configuration, or describes something out of bounds.
    """
    with open_regular(path, "model configuration") as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise UserError(f"{path} is no model configuration: it is longer than {_MOST_BYTES:,} bytes")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no model configuration in JSON ({one_line(error)}): correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no model configuration in JSON but a {type(content).__name__}: correct it")
    config, given = content.get("model_cfg", content), content.get("preprocess_cfg", {})
    try:
        _check_model(config)
        return config, preprocessing(given)
    except ValueError as error:
        raise UserError(f"{path} is no open_clip model configuration: {error}") from None


def _check_model(config: Any) -> None:
    _require(isinstance(config, dict), "model_cfg has to be a map")
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    _require(not missing, f"add {', '.join(missing)}")
    _require(type(config["embed_dim"]) is int and config["embed_dim"] > 0, "embed_dim has to be a whole number above 0")
    for part in _PARTS:
        _require(isinstance(config.get(part, {}), dict), f"{part} has to be a map")
    _check_values("", config, 0)
    _require(":" not in str(config["vision_cfg"].get("timm_model_name")), "timm_model_name has to be a name of timm's")
    _require(isinstance(config["text_cfg"].get("tokenizer_kwargs", {}), dict), "tokenizer_kwargs has to be a map")


def _check_values(name: str, value: Any, depth: int) -> None:
    _require(depth <= _DEEPEST, f"{name} is nested too deep")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_values(str(key)[:100], inner, depth + 1)
    elif isinstance(value, list):
        _require(len(value) <= 100, f"{name} is too long")
        for inner in value:
            _check_values(name, inner, depth + 1)
    elif isinstance(value, int | float):
        _require(abs(value) <= _LARGEST, f"{name} is out of range")  # which what is no number is, too
    if name == "layers" or name.endswith("_layers"):
        count = sum(value) if isinstance(value, list) and all(type(n) is int for n in value) else value
        _require(type(count) is int and 0 <= count <= _MOST_LAYERS, f"{name} has to be at most {_MOST_LAYERS}")


def preprocessing(given: Any) -> dict[str, Any]:
    """open_clip's preprocessing with what differs from its defaults.

    Args:
        given: A configuration's `preprocess_cfg`, or what open_clip knows of a tag.

    Raises:
        ValueError: Something in it is none.
    """
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    _require(isinstance(given, dict), "preprocess_cfg has to be a map")
    merged: dict[str, Any] = merge_preprocess_dict(PreprocessCfg(), given)
    for name in ("mean", "std"):
        values = merged[name]
        fits = isinstance(values, list | tuple) and len(values) == 3
        fits = fits and all(type(value) in (int, float) and 0 <= value <= 1 for value in values)
        _require(fits and (name == "mean" or min(values) > 0), f"{name} has to be three numbers from 0 to 1")
    size = merged["size"]
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    _require(len(sides) == 2 and all(type(side) is int and 0 < side <= 10_000 for side in sides), "size is none")
    for name in ("interpolation", "resize_mode"):
        _require(isinstance(merged[name], str), f"{name} has to be a text")
    return merged


def tuned_preprocessing(preprocess: dict[str, Any], weights: Weights) -> dict[str, Any]:
    """Preprocessing with what the weights' own file says about it, which was tuned with that.

    Raises:
        UserError: It says what is none.
    """
    try:
        unknown = [key for key in weights.preprocessing if key not in DECLARED_PREPROCESSING]
        _require(not unknown, f"it names {unknown}")
        return preprocessing({**preprocess, **weights.preprocessing})
    except (ValueError, TypeError) as error:
        raise UserError(f"weights file {weights.path} declares no preprocessing: {one_line(error)}") from None


def _require(fits: bool, message: str) -> None:
    if not fits:
        raise ValueError(message)
