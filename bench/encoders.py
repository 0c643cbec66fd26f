"""Load a frozen CLIP: one of the paper's nine encoders, any open_clip model, or a local checkpoint."""

import contextlib
import difflib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.weights import Activation, Declaration, Weights, load_weights, one_line, read_weights
from datamodules.errors import UserError

PAPER_ENCODERS = (
    "RN50",
    "RN101",
    "RN50x4",
    "RN50x16",
    "RN50x64",
    "ViT-B/32",
    "ViT-B/16",
    "ViT-L/14",
    "ViT-L/14@336px",
)
_HUB = "hf-hub:"
_QUICKGELU = "-quickgelu"


@dataclass(frozen=True)
class Encoder:
    """A frozen CLIP with everything needed to use it as it was trained.

    Attributes:
        name: The encoder as the user asked for it.
        model: open_clip's model: float32, evaluation mode, no parameter requires a gradient.
        image_size: Side of the square input in pixels.
        mean: Mean per colour channel that inputs are normalised with, in [0, 1].
        std: Standard deviation per colour channel, in [0, 1].
        interpolation: How images are resized: "bicubic" or "bilinear".
        resize_mode: "shortest" (then centre crop) or "squash".
        tokenizer: Strings to token ids, int64 [N, context_length].
        context_length: Tokens per prompt, start and end included.
        activation: "quickgelu" or "gelu"; None where the architecture leaves no choice.
    """

    name: str
    model: nn.Module
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Any
    resize_mode: Any
    tokenizer: Callable[[Sequence[str]], Tensor]
    context_length: int
    activation: Activation | None
    _origin: dict[str, Any] = field(repr=False)

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


@dataclass(frozen=True)
class _Blueprint:
    """An architecture before it is built, where its weights lie, and who says which activation they need."""

    name: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    tokenizer_name: str | None
    weights_path: Path
    pretrained: str
    declarations: tuple[Declaration, ...]


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
    with _quiet():
        blueprint = _blueprint(encoder, pretrained)
        weights = read_weights(blueprint.weights_path)
        chosen = _agreed_activation(blueprint, weights, activation)
        model = _build(blueprint, chosen)
        load_weights(model, weights)
        return _encoder(encoder, blueprint, weights, model, chosen)


def _blueprint(encoder: str, pretrained: str | None) -> _Blueprint:
    if encoder.startswith(_HUB):
        return _from_hub(encoder, pretrained)
    if encoder.endswith(".json") or Path(encoder).is_file():
        return _from_json(encoder, pretrained)
    return _from_name(encoder, pretrained)


def _from_name(encoder: str, pretrained: str | None) -> _Blueprint:
    import open_clip
    from open_clip.pretrained import download_pretrained

    name = open_clip_name(encoder)
    config = open_clip.get_model_config(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    declarations: tuple[Declaration, ...] = ()
    if config.get("quick_gelu"):
        declarations = (Declaration("quickgelu", f"the name {name}"),)
    if pretrained is None and "openai" in tags:
        pretrained = "openai"
    known = f"its tags are {', '.join(tags)}" if tags else "it has no published weights"
    if pretrained is None:
        raise UserError(f"encoder {encoder!r} needs `pretrained`: {known}; or give a local weights file")
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        says = Declaration("quickgelu" if tag.get("quick_gelu") else "gelu", f"open_clip's tag {pretrained}")
        with _downloading(f"weights {pretrained!r} of {encoder}"):
            path = Path(download_pretrained(tag))
        return _Blueprint(name, config, tag, name, path, pretrained, (*declarations, says))
    path = Path(pretrained)
    if not path.is_file():
        raise UserError(f"{pretrained!r} is neither a tag of {encoder} ({known}) nor a weights file: correct it")
    if not declarations and not _has_quickgelu_sibling(name, tags):
        declarations = (Declaration("gelu", f"the name {name}"),)
    return _Blueprint(name, config, {}, name, path, pretrained, declarations)


def open_clip_name(encoder: str) -> str:
    """open_clip's name of a built-in encoder.

    Raises:
        UserError: there is no such encoder; the message names the nearest ones.

    >>> open_clip_name("ViT-L/14@336px")
    'ViT-L-14-336'
    """
    import open_clip

    known = open_clip.list_models()
    name = encoder.replace("/", "-").replace("@336px", "-336")
    if name in known:
        return name
    by_lower = {n.lower(): n for n in (*known, *PAPER_ENCODERS)}
    near = [by_lower[n] for n in difflib.get_close_matches(encoder.lower(), by_lower, n=3, cutoff=0.4)]
    mend = f"did you mean {' or '.join(near)}?" if near else f"the paper's are {', '.join(PAPER_ENCODERS)}"
    raise UserError(f"unknown encoder {encoder!r}: {mend}")


def _has_quickgelu_sibling(name: str, tags: Sequence[str]) -> bool:
    """Whether weights for this architecture exist with QuickGELU, or might: it has no published ones."""
    import open_clip

    if name + _QUICKGELU in open_clip.list_models() or not tags:
        return True
    return any(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu") for tag in tags)


def _from_hub(encoder: str, pretrained: str | None) -> _Blueprint:
    from open_clip.pretrained import download_pretrained_from_hf

    repository = encoder.removeprefix(_HUB)
    with _downloading(f"the configuration of {encoder}"):
        path = Path(download_pretrained_from_hf(repository, filename="open_clip_config.json"))
    config, preprocess = _read_config(path)
    if pretrained is None:
        with _downloading(f"the weights of {encoder}"):
            weights = Path(download_pretrained_from_hf(repository))
    elif Path(pretrained).is_file():
        weights = Path(pretrained)
    else:
        raise UserError(f"{pretrained!r} is no weights file: leave `pretrained` empty to use those of {encoder}")
    says = _config_declaration(config, f"the configuration of {encoder}")
    return _Blueprint(encoder, config, preprocess, encoder, weights, pretrained or encoder, (says,))


def _from_json(encoder: str, pretrained: str | None) -> _Blueprint:
    path = Path(encoder)
    if not path.is_file():
        raise UserError(f"model configuration {encoder} does not exist: check the path")
    config, preprocess = _read_config(path)
    if pretrained is None or not Path(pretrained).is_file():
        problem = "no weights file is given" if pretrained is None else f"weights file {pretrained} does not exist"
        raise UserError(f"{problem} for the model configuration {encoder}: set `pretrained` to a local file")
    says = _config_declaration(config, path.name)
    return _Blueprint(path.stem, config, preprocess, None, Path(pretrained), pretrained, (says,))


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model and preprocess parts of a model configuration or of a hub repository's open_clip_config.json."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content.get("model_cfg", content)
        preprocess = content.get("preprocess_cfg", {})
        missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is no model configuration in JSON ({one_line(error)}): correct it") from None
    if missing:
        raise UserError(
            f"{path} is no open_clip model configuration, it lacks {', '.join(missing)}: add what is missing"
        )
    return config, preprocess


def _config_declaration(config: dict[str, Any], source: str) -> Declaration:
    if config.get("quick_gelu"):
        return Declaration("quickgelu", f"{source} (quick_gelu: true)")
    return Declaration("gelu", f"{source} (no quick_gelu: true)")


def _agreed_activation(blueprint: _Blueprint, weights: Weights, asked: Activation | None) -> Activation | None:
    """The one activation that everybody who says anything about it agrees on."""
    if not _offers_choice(blueprint.config):
        return None
    voices = [*blueprint.declarations, *weights.declarations]
    if asked is not None:
        voices.append(Declaration(asked, "the argument `activation`"))
    if not voices:
        raise UserError(
            f"nothing says which activation the weights {weights.path} need: add `--model.activation quickgelu`"
            " (OpenAI, DFN, MetaCLIP) or `--model.activation gelu` (LAION and most others)"
        )
    for voice in voices[1:]:
        if voice.activation != voices[0].activation:
            raise UserError(
                f"the activation of {blueprint.name} is contradictory: {voices[0].activation} says {voices[0].source},"
                f" {voice.activation} says {voice.source}; correct the one that is wrong"
            )
    return voices[0].activation


def _offers_choice(config: dict[str, Any]) -> bool:
    """Whether `quick_gelu` changes anything: timm's and transformers' towers bring their own activation."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    own_vision = not vision.get("timm_model_name") and not isinstance(vision.get("layers"), list)  # lists: ReLU ResNets
    return own_vision or not text.get("hf_model_name")


def _build(blueprint: _Blueprint, activation: Activation | None) -> nn.Module:
    """Build the model open_clip would, from its configuration alone: no registry, no download of towers."""
    import open_clip

    config = json.loads(json.dumps(blueprint.config))
    config["quick_gelu"] = activation == "quickgelu"
    if config["vision_cfg"].get("timm_model_name"):
        config["vision_cfg"]["timm_model_pretrained"] = False
    custom_text = config.pop("custom_text", False)
    model_class: Callable[..., nn.Module] = open_clip.CLIP
    if config["text_cfg"].get("hf_model_name"):
        config["text_cfg"]["hf_model_pretrained"] = False
        custom_text = True
    if custom_text:
        model_class = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        model = model_class(**config)
    except Exception as error:
        raise UserError(
            f"encoder {blueprint.name} cannot be built ({one_line(error)}): correct its configuration"
        ) from error
    built = built_activations(model)
    if built != ({activation} if activation else set()):
        raise RuntimeError(f"{blueprint.name} was built with {sorted(built)} where {activation} was asked for")
    return model.float().eval().requires_grad_(False)


def built_activations(model: nn.Module) -> set[str]:
    """Which of "quickgelu" and "gelu" the towers that open_clip itself defines contain."""
    from open_clip.hf_model import HFTextEncoder
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import QuickGELU

    if isinstance(model, TimmModel | HFTextEncoder):
        return set()
    own = {"quickgelu"} if isinstance(model, QuickGELU) else {"gelu"} if isinstance(model, nn.GELU) else set()
    return own.union(*(built_activations(child) for child in model.children()))


def _encoder(
    asked: str, blueprint: _Blueprint, weights: Weights, model: nn.Module, activation: Activation | None
) -> Encoder:
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    preprocess = merge_preprocess_dict(PreprocessCfg(), blueprint.preprocess)
    size = getattr(model.visual, "image_size", preprocess["size"])
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise UserError(f"encoder {asked} takes images of {height}x{width} pixels: only square inputs are supported")
    text = blueprint.config["text_cfg"]
    try:
        if blueprint.tokenizer_name is None and not text.get("hf_tokenizer_name"):
            tokenizer = open_clip.SimpleTokenizer(
                context_length=text.get("context_length", 77), **text.get("tokenizer_kwargs", {})
            )
        elif blueprint.tokenizer_name is None:
            tokenizer = open_clip.HFTokenizer(
                text["hf_tokenizer_name"],
                context_length=text.get("context_length", 77),
                tokenizer_mode=text.get("tokenizer_mode"),
                **text.get("tokenizer_kwargs", {}),
            )
        else:
            tokenizer = open_clip.get_tokenizer(blueprint.tokenizer_name)
    except Exception as error:
        raise UserError(
            f"the tokenizer of {asked} cannot be loaded ({one_line(error)}): see its configuration"
        ) from error
    origin = {"architecture": blueprint.name, "pretrained": blueprint.pretrained, "weights_sha256": weights.sha256}
    return Encoder(
        name=asked,
        model=model,
        image_size=height,
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        interpolation=preprocess["interpolation"],
        resize_mode=preprocess["resize_mode"],
        tokenizer=tokenizer,
        context_length=tokenizer.context_length,
        activation=activation,
        _origin=origin,
    )


@contextlib.contextmanager
def _downloading(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{what} could not be downloaded ({one_line(error)}): check the network, or use a local weights file"
        ) from error


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
