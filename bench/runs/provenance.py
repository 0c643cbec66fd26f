"""What a result came from: model, data and software, as records say it."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from bench.runs.json_values import Value, plain
from datamodules.degradations import Degradation, codec_versions

_PACKAGES = ("lightning", "torch", "torchvision", "open_clip_torch", "torchmetrics", "pillow", "numpy")
_LONGEST_NAME = 255  # as in file systems

_JOINED = {"restoration": "behind", "adapter": "with"}

COMPANION_MAKERS: Mapping[str, str] = {"restoration": "bench.RestorationTuning", "adapter": "bench.ConditionedTuning"}
"""Which fits export what an encoder is measured with, by its kind, which is the option of a test that takes it."""

COMPANION_HASHES: Mapping[str, str] = {kind: f"{kind}_sha256" for kind in COMPANION_MAKERS}
"""Keys of records: of the hash of what an encoder was measured with, by that of its name."""


@dataclass(frozen=True)
class Companion:
    """What an encoder was measured with beside its own weights.

    Attributes:
        kind: "restoration", which images passed through before it, or "adapter", which changed it as each view asked.
        name: As its file is called, without folders, or as the option names it.
        sha256: Of the file; None where it is none.
    """

    kind: str
    name: str
    sha256: str | None = None

    def describe(self) -> dict[str, str]:
        """What a result record says about it beside what it says about the encoder, JSON-able."""
        return {self.kind: self.name} | ({} if self.sha256 is None else {COMPANION_HASHES[self.kind]: self.sha256})

    def said_of(self, encoder: str) -> str:
        """An encoder with it, for readers."""
        return f"{encoder} {_JOINED[self.kind]} {self.name}"


ADAPTATION = "adaptation"
"""Key of how the model was adapted to the images while it was tested, where it was; see `bench.runs.adaptation`."""


@dataclass(frozen=True)
class ModelRecord:
    """The model that was measured or tuned; None and empty where a record does not say it.

    Attributes:
        encoder: Name.
        pretrained: Tag or file of its weights.
        architecture: Name that open_clip has for it.
        weights_sha256: Of the weights' file.
        templates: Prompts.
        precision: Lightning's name of the arithmetic.
        activation: "quickgelu" or "gelu", or None where the architecture settles it.
        image_size: Side of its input in pixels.
        further: Whatever else is known, by name, JSON-able.
    """

    encoder: str
    pretrained: str
    architecture: str | None = None
    weights_sha256: str | None = None
    templates: tuple[str, ...] = ()
    precision: str | None = None
    activation: str | None = None
    image_size: int | None = None
    further: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Self:
        """The provenance of a model, from its description of itself (`describe`), which is JSON-able."""
        return cls.from_json(_own(described, "model"))

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `to_json` made."""
        return cls(
            encoder=value["encoder"].text(),
            pretrained=value["pretrained"].text(),
            architecture=_text(value, "architecture"),
            weights_sha256=_text(value, "weights_sha256"),
            templates=_texts(value, "templates"),
            precision=_text(value, "precision"),
            activation=_text(value, "activation"),
            image_size=_whole(value, "image_size"),
            further=value.further(_names(cls)),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able, all keys on one level."""
        return _flat(self)

    @property
    def companion(self) -> Companion | None:
        """What it was measured with, None where that is the encoder alone."""
        for kind, digest in COMPANION_HASHES.items():
            if (name := self.further.get(kind)) is not None:
                sha256 = self.further.get(digest)
                return Companion(kind, str(name), None if sha256 is None else str(sha256))
        return None


@dataclass(frozen=True)
class DataRecord:
    """The images that were classified; None and empty where a record does not say it.

    Attributes:
        name: Of the data set.
        split: Of it.
        content: Hash of the split's images and labels.
        images_in_split: Number of images there are.
        images_selected: Number of images that were chosen.
        limit: At most so many images, if the number was limited.
        every: Step between the images that were chosen.
        indices: The images that were chosen one by one, if they were.
        views: Names, the original first.
        class_names: By label.
        lossy_source_formats: Formats of the originals that had already lost something.
        further: Whatever else is known, by name, JSON-able.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    views: tuple[str, ...] = ()
    content: str | None = None
    images_in_split: int | None = None
    images_selected: int | None = None
    limit: int | None = None
    every: int | None = None
    indices: tuple[int, ...] | None = None
    lossy_source_formats: tuple[str, ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Self:
        """The provenance of data, from their description of themselves (`describe`), which is JSON-able."""
        return cls.from_json(_own(described, "data"))

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `to_json` made."""
        names = value["class_names"].texts()
        if not names:
            value["class_names"].fail("is empty: there is nothing to tell apart")
        indices = value.get("indices")
        return cls(
            name=value["name"].text(_LONGEST_NAME),
            split=value["split"].text(_LONGEST_NAME),
            class_names=names,
            views=_texts(value, "views"),
            content=_text(value, "content"),
            images_in_split=_whole(value, "images_in_split"),
            images_selected=_whole(value, "images_selected"),
            limit=_whole(value, "limit"),
            every=_whole(value, "every"),
            indices=None if indices is None else indices.wholes(),
            lossy_source_formats=_texts(value, "lossy_source_formats"),
            further=value.further(_names(cls)),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able, all keys on one level."""
        return _flat(self)

    @property
    def positions(self) -> Sequence[int] | None:
        """Positions in the split of the images that were chosen; None where the record does not say it."""
        if self.indices is not None:
            return self.indices[: self.limit]
        if self.images_in_split is None:
            return None
        return range(0, self.images_in_split, self.every or 1)[: self.limit]


@dataclass(frozen=True)
class SoftwareRecord:
    """Versions of everything that can change a result; None and empty where a record does not say it.

    Attributes:
        python: Version.
        platform: Operating system and kernel.
        packages: Versions by name.
        libjpeg_turbo: Version of the library that decodes sources and makes JPEG views.
        git_commit: Of this project, with `-dirty` where files differed from it.
        codecs: Versions of the libraries behind the codecs at work, by format.
        further: Whatever else is known, by name, JSON-able.
    """

    python: str | None = None
    platform: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    libjpeg_turbo: str | None = None
    git_commit: str | None = None
    codecs: Mapping[str, str] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read back what `to_json` made."""
        packages, codecs = value.get("packages"), value.get("codecs")
        return cls(
            python=_text(value, "python"),
            platform=_text(value, "platform"),
            packages={} if packages is None else {name: one.text() for name, one in packages.items()},
            libjpeg_turbo=_text(value, "libjpeg_turbo"),
            git_commit=_text(value, "git_commit"),
            codecs={} if codecs is None else {name: one.text() for name, one in codecs.items() if one.content},
            further=value.further(_names(cls)),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able, all keys on one level."""
        return _flat(self)

    @property
    def codec_versions(self) -> dict[str, str]:
        """Versions of the libraries behind all codecs that touched pixels, by format."""
        return ({"JPEG": self.libjpeg_turbo} if self.libjpeg_turbo else {}) | dict(self.codecs)


def software(degradations: Iterable[Degradation] = ()) -> SoftwareRecord:
    """Versions of what is installed here: Python, packages, this project's git commit, and codecs.

    Args:
        degradations: Those whose codecs are at work; `libjpeg_turbo` also decodes sources.
    """
    codecs = {name: version for name, version in codec_versions(degradations).items() if version is not None}
    return SoftwareRecord(codecs=codecs, **_installed())


@cache
def _installed() -> dict[str, Any]:
    import torch
    from PIL import features

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES} | {"torch": torch.__version__},  # with its CUDA
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Commit of this checkout, with `-dirty` if files differ from it; None outside a checkout of this project."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    package = Path(__file__).resolve().parents[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # which a hook's are not
    own["GIT_CEILING_DIRECTORIES"] = str(package.parents[1])  # it may be installed below some other project
    try:
        done = subprocess.run(describe, cwd=package, env=own, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _own(described: Mapping[str, Any], name: str) -> Value:
    """What this program says about itself, as if it had been written and read."""
    return Value(plain(described), Path("this run"), (name,))


def _names(record: type[Any]) -> list[str]:
    return [one.name for one in fields(record)]


def _flat(record: Any) -> dict[str, Any]:
    values = {one.name: getattr(record, one.name) for one in fields(record) if one.name != "further"}
    return {**values, **record.further}


def _text(value: Value, key: str) -> str | None:
    found = value.get(key)
    return None if found is None else found.text()


def _texts(value: Value, key: str) -> tuple[str, ...]:
    found = value.get(key)
    return () if found is None else found.texts()


def _whole(value: Value, key: str) -> int | None:
    found = value.get(key)
    return None if found is None else found.whole()
