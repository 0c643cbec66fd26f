"""Load a frozen CLIP: one of the paper's nine encoders, any open_clip model, or a local checkpoint."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from bench.clip.blueprints import Blueprint, find_blueprint, untrained_blueprint
from bench.clip.configurations import tuned_preprocessing
from bench.clip.tokenizers import Tokenizer, load_tokenizer
from bench.clip.towers import (
    built_activations,
    image_flops,
    image_tower,
    lay_out,
    offers_activation,
    patch_period,
    without_downloads,
)
from bench.clip.weights import Activation, Declaration, Weights, load_weights, one_line, read_weights
from datamodules.errors import UserError
from datamodules.geometry import Geometry

_EXTRA_NUMBERS = 2**24  # that a model has beside its weights, such as masks
_DRAWS = frozenset(
    {Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.trunc_normal_}
    | {init.kaiming_uniform_, init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_}
)


@dataclass(frozen=True)
class Encoder:
    """A frozen CLIP with everything needed to use it as it was trained.

    Attributes:
        name: The encoder as the user asked for it, for a configuration file its stem.
        model: open_clip's model: float32, evaluation mode, no parameter requires a gradient.
        image_size: Side of the square input in pixels.
        mean: Mean per colour channel that inputs are normalised with, in [0, 1].
        std: Standard deviation per colour channel, in [0, 1].
        interpolation: How images are resized: "bicubic" or "bilinear".
        resize_mode: "shortest" (then centre crop) or "squash".
        tokenizer: Strings to token ids, int64 [N, context_length].
        context_length: Tokens per prompt, start and end included.
        activation: "quickgelu" or "gelu"; None where the architecture leaves no choice.
        config: open_clip's model configuration.
    """

    name: str
    model: nn.Module
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Any
    resize_mode: Any
    tokenizer: Tokenizer
    context_length: int
    activation: Activation | None
    config: Mapping[str, Any] = field(repr=False)
    _origin: dict[str, Any] = field(repr=False)

    @property
    def geometry(self) -> Geometry:
        """What it makes of an image's size.

        Raises:
            UserError: It is one that is not supported.
        """
        return Geometry(self.image_size, self.resize_mode, self.interpolation)

    @property
    def patch_period(self) -> int | None:
        """See `bench.clip.towers.patch_period`."""
        return patch_period(image_tower(self.model))

    def flops(self) -> int:
        """Floating-point operations of the image tower for one image, a multiplication and an addition being two."""
        return image_flops(self.model, self.image_size)

    def provenance(self) -> dict[str, Any]:
        """What a result has to say about its encoder, ready for JSON."""
        return {
            "encoder": self.name,
            **self._origin,
            "activation": self.activation,
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "resize_mode": self.resize_mode,
            "context_length": self.context_length,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "open_clip": metadata.version("open_clip_torch"),
        }


def load_encoder(encoder: str, pretrained: str | None = None, activation: Activation | None = None) -> Encoder:
    """Load a frozen CLIP in float32 and evaluation mode.

    Args:
        encoder: One of the paper's names ("RN50", "ViT-L/14@336px", also spelt "ViT-L-14-336"), any open_clip model
            name, "hf-hub:<organisation>/<model>", or the path of a model configuration in JSON.
        pretrained: A tag that open_clip knows for this encoder ("openai" where None and there is one), or a local
            weights file: safetensors, a state dict (.pt, .pth, .bin), or OpenAI's TorchScript archive. With "hf-hub:"
            and None, the weights beside the configuration.
        activation: What the weights were trained with. Needed only for a local file that does not say so itself.

    Raises:
        UserError: unknown encoder or tag, missing, unreadable or unfitting weights, a failed download, or an activation
            that is unknown or contradicted.
    """
    if activation not in (None, "quickgelu", "gelu"):
        raise UserError(f"unknown activation {activation!r}: use quickgelu or gelu")
    with _quiet():
        blueprint = find_blueprint(encoder, pretrained)
        voices = list(blueprint.declarations)
        if activation is not None:
            voices.append(Declaration(activation, "the argument `activation`"))
        _require_agreement(blueprint.name, voices)  # a contradiction should not cost a download
        weights = read_weights(blueprint.fetch())
        blueprint = replace(blueprint, preprocess=tuned_preprocessing(blueprint.preprocess, weights))
        chosen = _activation(blueprint, weights, [*voices, *weights.declarations])
        with _Unfilled():
            if not blueprint.built_in:
                _check_extent(blueprint, weights, chosen)
            model = _build(blueprint, chosen)
        load_weights(model, weights)
        return _encoder(encoder, blueprint, weights.sha256, model, chosen)


def new_encoder(config: str) -> Encoder:
    """A CLIP with random weights, in float32 and evaluation mode, no parameter requiring a gradient.

    Args:
        config: Path of a model configuration in JSON, which also says which activation is built.

    Raises:
        UserError: the configuration is missing, unreadable or none of a CLIP.
    """
    with _quiet():
        blueprint = untrained_blueprint(config)
        (says,) = blueprint.declarations
        chosen = says.activation if offers_activation(blueprint.config) else None
        return _encoder(config, blueprint, None, _build(blueprint, chosen), chosen)


def untrained(encoder: str, pretrained: str | None = None) -> tuple[nn.Module, int]:
    """The architecture of an encoder on the meta device, and the side of its input in pixels; reads no weights.

    Raises:
        UserError: unknown encoder or tag.
    """
    with _quiet(), torch.device("meta"):
        blueprint = find_blueprint(encoder, pretrained)
        chosen = blueprint.declarations[0].activation if blueprint.declarations else "gelu"
        model = _build(blueprint, chosen if offers_activation(blueprint.config) else None)
        return model, _image_size(model, blueprint)


def _image_size(model: nn.Module, blueprint: Blueprint) -> int:
    size = getattr(model.visual, "image_size", blueprint.preprocess["size"])
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise UserError(
            f"encoder {blueprint.name} takes images of {height}x{width} pixels: only square inputs are supported"
        )
    return int(height)


def _require_agreement(name: str, voices: Sequence[Declaration]) -> None:
    for voice in voices[1:]:
        if voice.activation != voices[0].activation:
            raise UserError(
                f"the activation of {name} is contradictory: {voices[0].activation} according to {voices[0].source},"
                f" {voice.activation} according to {voice.source}; correct the one that is wrong"
            )


def _activation(blueprint: Blueprint, weights: Weights, voices: Sequence[Declaration]) -> Activation | None:
    """The one activation that everybody who says anything about it agrees on; None where there is no choice."""
    if not offers_activation(blueprint.config):
        return None
    if not voices:
        raise UserError(
            f"nothing says which activation the weights {weights.path} need: add `--model.activation quickgelu`"
            " (OpenAI, DFN, MetaCLIP) or `--model.activation gelu` (LAION and most others)"
        )
    _require_agreement(blueprint.name, voices)
    return voices[0].activation


def _check_extent(blueprint: Blueprint, weights: Weights, activation: Activation | None) -> None:
    """Refuse a configuration of a model that is much larger than its weights, before it takes that memory."""
    with torch.device("meta"):
        model = _build(blueprint, activation)
    described = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    held = sum(tensor.numel() for tensor in weights.tensors.values())
    if described > 2 * held + _EXTRA_NUMBERS:
        raise UserError(
            f"{weights.path} does not fit the encoder: {blueprint.name} describes {described:,} numbers, the file holds"
            f" {held:,}"
        )


def _build(blueprint: Blueprint, activation: Activation | None) -> nn.Module:
    """Build the model open_clip would, from its configuration alone: no registry, no download of towers."""
    import open_clip

    config = without_downloads(copy.deepcopy(blueprint.config))
    config["quick_gelu"] = activation == "quickgelu"
    custom_text = config.pop("custom_text", False)
    model_class: Callable[..., nn.Module] = open_clip.CLIP
    if custom_text or config["text_cfg"].get("hf_model_name"):
        model_class = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        model = model_class(**config)
    except Exception as error:
        ours = not config["text_cfg"].get("hf_model_name")  # a name of transformers', which describes it elsewhere
        mend = "correct its configuration" if ours else "install transformers and check the network"
        raise UserError(f"encoder {blueprint.name} cannot be built ({one_line(error)}): {mend}") from error
    built = built_activations(model)
    if built != ({activation} if activation else set()):
        raise RuntimeError(f"{blueprint.name} was built with {sorted(built)} where {activation} was asked for")
    lay_out(image_tower(model))
    return model.float().eval().requires_grad_(False)


def _encoder(
    asked: str, blueprint: Blueprint, weights_sha256: str | None, model: nn.Module, activation: Activation | None
) -> Encoder:
    preprocess = blueprint.preprocess
    tokenizer, context_length = load_tokenizer(blueprint.config["text_cfg"], asked)
    origin = {"architecture": blueprint.name, "pretrained": blueprint.pretrained, "weights_sha256": weights_sha256}
    return Encoder(
        name=blueprint.name if asked.endswith(".json") else asked,
        model=model,
        image_size=_image_size(model, blueprint),
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        interpolation=preprocess["interpolation"],
        resize_mode=preprocess["resize_mode"],
        tokenizer=tokenizer,
        context_length=context_length,
        activation=activation,
        config=blueprint.config,
        _origin=origin,
    )


class _Unfilled(TorchFunctionMode):
    """Leaves out the random numbers of a new model, all of which its weights will replace."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else named["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **named)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence open_clip's log lines on the root logger and warnings about what is checked here strictly."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
