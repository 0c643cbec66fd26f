"""What goes with a frozen encoder, as a file: safetensors, with what it is as JSON in the metadata."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from bench.clip.weights import one_line, shortened
from bench.runs.provenance import COMPANION_MAKERS
from datamodules.errors import UserError
from datamodules.files import open_regular

_MOST_BYTES = 2**28  # four times what the largest front end takes, and more than adapters of rank 64 for a ViT-bigG
_MOST_CHARACTERS = 1000
_LENGTH_BYTES = 8  # of the head's length, at the beginning of a safetensors file


@dataclass(frozen=True)
class Content:
    """What a file held, of which only the format has been checked.

    Attributes:
        tensors: By name.
        metadata: What it says beside them.
        sha256: Hex digest of the file.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str]
    sha256: str


@dataclass(frozen=True)
class CompanionFile:
    """A kind of file that fits export and that may come from a stranger: no code of it is run, its size is bounded.

    Attributes:
        name: Of what it holds: the key of its description, and the option of a test that takes it.
        part: What it holds, in a word for messages.
    """

    name: str
    part: str

    def read(self, path: Path) -> Content:
        """Read a file.

        Raises:
            UserError: It is missing, damaged or too large.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        with open_regular(path, f"{self.name} file") as file:
            if (size := os.fstat(file.fileno()).st_size) > _MOST_BYTES:
                self.refuse(path, f"has {size:,} bytes, more than any {self.name} needs")
            content = file.read()
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            self.refuse(path, f"is no safetensors file ({one_line(error)})")
        return Content(tensors, _metadata(content), hashlib.sha256(content).hexdigest())

    def description(self, path: Path, metadata: Mapping[str, str]) -> Any:
        """What a file says that it holds: any JSON, of at most 1,000 characters.

        Raises:
            UserError: It says nothing, too much, or no JSON.
        """
        declared = metadata.get(self.name)
        if declared is None:
            self.refuse(path, f"does not say what its {self.part} looks like, so it is none")
        try:
            if len(declared) <= _MOST_CHARACTERS:
                return json.loads(declared)
        except (ValueError, RecursionError):
            pass
        self.refuse_description(path, metadata)

    def check(self, path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
        """Refuse tensors that are not finite numbers of the names and shapes that are wanted.

        Args:
            path: Of the file, for the message.
            tensors: What it holds.
            wanted: Tensors by name of which only the shape counts, as those of the meta device.

        Raises:
            UserError: One is missing, another one, of another type or not finite.
        """
        for name, place in wanted.items():
            tensor = tensors.get(name)
            if tensor is None:
                self.refuse(path, f"lacks {name} {list(place.shape)}")
            if tensor.shape != place.shape or tensor.dtype != torch.float32:
                kind = str(tensor.dtype).removeprefix("torch.")
                self.refuse(path, f"has {name} as {kind} {list(tensor.shape)} and not float32 {list(place.shape)}")
            if not bool(tensor.isfinite().all()):
                self.refuse(path, f"holds values that are not finite, first in {name}")
        for name in tensors:
            if name not in wanted:
                self.refuse(path, f"has {shortened(name)}, which its {self.part} lacks")

    def refuse_description(self, path: Path, metadata: Mapping[str, str]) -> NoReturn:
        """Refuse what `description` gave."""
        self.refuse(path, f"declares the {self.part} '{shortened(metadata[self.name])}', which is none")

    def refuse(self, path: Path, what: str) -> NoReturn:
        """Refuse a file.

        Args:
            path: Of it.
            what: What is wrong, with the file as the subject.

        Raises:
            UserError: Always.
        """
        maker = COMPANION_MAKERS[self.name]
        raise UserError(
            f"{self.name} file {path} {what}: give the .safetensors file that a fit of {maker} exported",
            option=f"model.{self.name}",
        )


def _metadata(content: bytes) -> dict[str, str]:
    """What a safetensors file that has been read says beside its tensors, in the JSON at its head."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    said: dict[str, str] = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length]).get("__metadata__") or {}
    return said
