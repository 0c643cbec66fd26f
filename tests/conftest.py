"""Fixtures that several test modules share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared(repository: Path) -> Path:
    """The folder of real material beside the checkout; tests that ask for it are skipped where it is missing."""
    folder = repository.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the real images and the stand-in checkpoint in ../shared")
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text classifiers are made anew in every test, and the user's cache stays as it is."""
    monkeypatch.setenv("CLIP_BENCH_CACHE", "")


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command line options that choose a tiny CLIP with random weights."""
    from tests.support.checkpoints import VIT, build, save_safetensors, write_config

    folder = tmp_path_factory.mktemp("tiny_clip")
    weights = save_safetensors(build(VIT), folder / "tiny.safetensors")
    return ["--model.encoder", write_config(folder, VIT), "--model.pretrained", weights]
