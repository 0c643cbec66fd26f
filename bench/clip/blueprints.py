"""What an encoder's name stands for: its architecture, its weights, and what is known about its activation."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.clip.configurations import preprocessing, read_config
from bench.clip.weights import Declaration, one_line
from bench.paper import OPENAI_ENCODERS
from datamodules.errors import UserError

_HUB = "hf-hub:"
_OPTION = "model.pretrained"
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True)
class Blueprint:
    """An architecture that is not built yet and weights that are not read yet.

    Attributes:
        name: open_clip's name of the architecture, or the configuration file's.
        config: open_clip's model configuration.
        preprocess: open_clip's preprocessing, with its defaults where nothing else is said.
        pretrained: The tag, file or repository that the weights come from; None where there are none.
        fetch: Returns the weights file, after downloading it where that is needed; raises UserError.
        declarations: What is known about the activation before the weights are read.
        built_in: Whether the configuration is one that comes with open_clip.
    """

    name: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    pretrained: str | None
    fetch: Callable[[], Path]
    declarations: tuple[Declaration, ...]
    built_in: bool = False


def find_blueprint(encoder: str, pretrained: str | None) -> Blueprint:
    """Resolve what the user asked for; see `bench.clip.encoders.load_encoder` for the arguments.

    Only the configuration of a "hf-hub:" encoder is downloaded here.

    Raises:
        UserError: unknown encoder or tag, a missing file, or a failed download.
    """
    if encoder.startswith(_HUB):
        return _from_hub(encoder, pretrained)
    if encoder.endswith(".json"):
        return _from_json(encoder, pretrained)
    return _from_name(encoder, pretrained)


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
    by_lower = {n.lower(): n for n in (*known, *OPENAI_ENCODERS)}
    near = [by_lower[n] for n in difflib.get_close_matches(encoder.lower(), by_lower, n=3, cutoff=0.4)]
    mend = f"did you mean {' or '.join(near)}?" if near else f"the paper's are {', '.join(OPENAI_ENCODERS)}"
    raise UserError(f"unknown encoder {encoder!r}: {mend}")


def _from_name(encoder: str, pretrained: str | None) -> Blueprint:
    import open_clip

    name = open_clip_name(encoder)
    config = open_clip.get_model_config(name)
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = f"its tags are {', '.join(tags)}" if tags else "it has no published weights"
    if pretrained is None:
        if "openai" not in tags:
            raise UserError(
                f"encoder {encoder!r} needs `pretrained`: {known}; or give a local weights file", option=_OPTION
            )
        pretrained = "openai"
    declarations: tuple[Declaration, ...] = ()
    if config.get("quick_gelu"):
        declarations = (Declaration("quickgelu", f"the name {name}"),)
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        says = Declaration("quickgelu" if tag.get("quick_gelu") else "gelu", f"open_clip's tag {pretrained}")
        fetch = _download_tag(tag, f"weights {pretrained!r} of {encoder}")
        return Blueprint(name, config, preprocessing(tag), pretrained, fetch, (*declarations, says), built_in=True)
    path = Path(pretrained).expanduser()
    if not path.is_file():
        if path.suffix in WEIGHTS_SUFFIXES:
            raise UserError(f"weights file {pretrained} {_why_unread(path)}: check the path")
        raise UserError(f"{pretrained!r} is neither a tag of {encoder} ({known}) nor a weights file: correct it")
    if not declarations and not _comes_with_quickgelu(name, tags):
        declarations = (Declaration("gelu", f"the name {name}"),)
    preprocess = _shared_preprocessing(name, tags)
    return Blueprint(name, config, preprocess, pretrained, lambda: path, declarations, built_in=True)


def _why_unread(path: Path) -> str:
    return "is no regular file" if path.exists() else "does not exist"


def _comes_with_quickgelu(name: str, tags: Sequence[str]) -> bool:
    """Whether weights of this architecture exist with QuickGELU, or might: none are published."""
    import open_clip

    if f"{name}-quickgelu" in open_clip.list_models() or not tags:
        return True
    return any(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu") for tag in tags)


def _shared_preprocessing(name: str, tags: Sequence[str]) -> dict[str, Any]:
    """The preprocessing of all published weights of an architecture; open_clip's default where these differ."""
    import open_clip

    found = [preprocessing(open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    return found[0] if found and all(one == found[0] for one in found) else preprocessing({})


def _from_hub(encoder: str, pretrained: str | None) -> Blueprint:
    repository = encoder.removeprefix(_HUB)
    path = None if pretrained is None else Path(pretrained).expanduser()
    if path is not None and not path.is_file():
        raise UserError(
            f"weights file {pretrained} {_why_unread(path)}: set `pretrained` to null to use the weights of {encoder}",
            option=_OPTION,
        )
    config, preprocess = read_config(_download_hub(repository, "open_clip_config.json", f"{encoder}'s configuration")())
    fetch = _download_hub(repository, None, f"{encoder}'s weights") if path is None else lambda: path
    says = _config_declaration(config, f"the configuration of {encoder}")
    return Blueprint(encoder, config, preprocess, pretrained or encoder, fetch, (says,))


def _from_json(encoder: str, pretrained: str | None) -> Blueprint:
    plan = untrained_blueprint(encoder)
    if pretrained is None:
        raise UserError(
            f"model configuration {encoder} needs weights: set `pretrained` to a local weights file", option=_OPTION
        )
    path = Path(pretrained).expanduser()
    if not path.is_file():
        raise UserError(
            f"weights file {pretrained} for {encoder} {_why_unread(path)}: set `pretrained` to a local file",
            option=_OPTION,
        )
    return replace(plan, pretrained=pretrained, fetch=lambda: path)


def untrained_blueprint(config: str) -> Blueprint:
    """What a model configuration in JSON says, without weights: `fetch` refuses.

    Raises:
        UserError: The file is missing or no model configuration.
    """
    path = Path(config).expanduser()
    if not path.is_file():
        raise UserError(f"model configuration {config} does not exist: check the path")
    content, preprocess = read_config(path)
    own = path.parent / str(content["text_cfg"].get("hf_tokenizer_name"))
    if own.is_dir():
        content["text_cfg"]["hf_tokenizer_name"] = str(own)
    says = _config_declaration(content, path.name)
    return Blueprint(path.stem, content, preprocess, None, _no_weights, (says,))


def _no_weights() -> Path:
    raise UserError("a model configuration has no weights: set `pretrained` to a local weights file")


def _config_declaration(config: dict[str, Any], source: str) -> Declaration:
    """A configuration defines its model: without quick_gelu it means GELU, as in open_clip."""
    if config.get("quick_gelu"):
        return Declaration("quickgelu", f"{source} (quick_gelu is true)")
    return Declaration("gelu", f"{source} (quick_gelu is not true)")


def _download_tag(tag: dict[str, Any], what: str) -> Callable[[], Path]:
    def fetch() -> Path:
        from open_clip.pretrained import download_pretrained

        return _downloaded(lambda: download_pretrained(tag), what)

    return fetch


def _download_hub(repository: str, filename: str | None, what: str) -> Callable[[], Path]:
    def fetch() -> Path:
        from open_clip.pretrained import download_pretrained_from_hf

        return _downloaded(lambda: download_pretrained_from_hf(repository, filename=filename), what)

    return fetch


def _downloaded(download: Callable[[], str], what: str) -> Path:
    try:
        return Path(download())
    except Exception as error:
        raise UserError(
            f"{what} could not be downloaded ({one_line(error)}): check the network, or use a local weights file"
        ) from error
