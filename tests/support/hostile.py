"""Files of weights that try to run a program, to lie about their size, or to hold what no encoder can use."""

import io
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn


class Overwrite(nn.Module):
    """A module whose own `__setstate__` overwrites a file when TorchScript loads it."""

    def __init__(self, victim: Path):
        super().__init__()
        self.victim = str(victim)
        self.payload = torch.zeros(8, dtype=torch.uint8)

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (torch.full((8,), 66, dtype=torch.uint8), self.victim, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        self.victim = state[1]
        mapped = torch.from_file(state[1], True, 8, dtype=torch.uint8)
        self.payload = mapped.copy_(state[0])
        self.training = state[2]


class Endless(nn.Module):
    """A module whose own `__setstate__` never returns."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (1, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]):
        self.count = state[0]
        self.training = state[1]
        while self.count > 0:
            self.count += 2


class Around(nn.Module):
    """Ordinary weights, and in their midst another module."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.weights = nn.Linear(2, 2)
        self.inner = inner

    def forward(self, x):
        return self.inner(self.weights(x))


def save_scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), path)
    return path


def parts(path: Path) -> dict[str, bytes]:
    """The parts of a zip archive by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_parts(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def saved(value, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()
