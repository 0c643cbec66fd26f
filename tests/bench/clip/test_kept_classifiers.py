import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.clip import kept_classifiers
from bench.clip.encoders import load_encoder, new_encoder
from bench.clip.kept_classifiers import cache_folder, kept_text_classifier
from bench.clip.text_classifier import text_classifier
from tests.support.checkpoints import VIT, build, save_safetensors, write_config

NAMES, TEMPLATES = ["cat", "snow leopard", "dog"], ["a photo of a {}.", "{}"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return load_encoder(write_config(folder, VIT), save_safetensors(build(VIT), folder / "w.safetensors"))


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text"


@pytest.fixture
def made(monkeypatch):
    """How many prompts each call has embedded."""
    counts, make = [], kept_classifiers.from_tokens
    monkeypatch.setattr(
        kept_classifiers, "from_tokens", lambda *given, **more: counts.append(len(given[1])) or make(*given, **more)
    )
    return counts


def test_the_second_time_nothing_is_embedded_or_tokenised_and_every_bit_is_the_same(encoder, cache, made, monkeypatch):
    first = kept_text_classifier(encoder, NAMES, TEMPLATES)
    assert torch.equal(first, text_classifier(encoder, NAMES, TEMPLATES))
    monkeypatch.setattr(type(encoder.tokenizer), "__call__", None)
    assert torch.equal(kept_text_classifier(encoder, NAMES, TEMPLATES), first)
    assert made == [6]
    assert len(list(cache.iterdir())) == 1


def test_whatever_changes_the_classifier_is_another_file(encoder, cache, made, tmp_path):
    other = load_encoder(write_config(tmp_path, VIT), save_safetensors(build(VIT, 1), tmp_path / "w.safetensors"))
    variants = [
        (encoder, NAMES, TEMPLATES), (encoder, NAMES[::-1], TEMPLATES), (encoder, NAMES, TEMPLATES[::-1]),
        (encoder, NAMES, ["a photo of a {}.{}".replace("{}", "", 1), "x {}"]), (other, NAMES, TEMPLATES),
        (replace(encoder, activation="gelu"), NAMES, TEMPLATES),
        (replace(encoder, config={**encoder.config, "text_cfg": {"tokenizer_kwargs": {"clean": "canonicalize"}}}),
         NAMES, TEMPLATES),
        (replace(encoder, tokenizer=lambda texts: encoder.tokenizer(texts).flip(0)), NAMES, TEMPLATES),
    ]  # fmt: skip
    for variant in variants:
        kept_text_classifier(*variant)
    assert len(made) == len(variants) == len(list(cache.iterdir()))
    torch.set_float32_matmul_precision("high")
    try:
        kept_text_classifier(encoder, NAMES, TEMPLATES)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(made) == len(variants) + 1


def _not_a_number(file):
    tensors = load_file(file)
    tensors["text"][0, 0] = float("nan")
    save_file(tensors, file)


def _of_another_shape(file):
    tensors = load_file(file)
    save_file({**tensors, "text": tensors["text"][:2].clone()}, file)


def _that_lies_about_cuts(file):
    save_file({**load_file(file), "cut": torch.tensor([1, 1000])}, file)


def _a_pipe(file):
    file.unlink()
    os.mkfifo(file)


def _a_folder(file):
    file.unlink()
    file.mkdir()


def _a_link(file):
    file.unlink()
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\xff" * 100),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes() + b"x" * 2**20),
        _not_a_number, _of_another_shape, _that_lies_about_cuts, _a_pipe, _a_folder, _a_link,
    ],
    ids=["empty", "garbage", "short", "long", "nan", "shape", "cut", "pipe", "folder", "link"],
)  # fmt: skip
def test_a_file_that_is_not_as_it_was_written_is_made_again(encoder, cache, made, spoil):
    first = kept_text_classifier(encoder, NAMES, TEMPLATES)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    spoil(file)
    assert torch.equal(kept_text_classifier(encoder, NAMES, TEMPLATES), first)
    assert len(made) == 2
    assert file.is_dir() or file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_a_line_and_no_more(encoder, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIP_BENCH_CACHE", str(tmp_path / "file"))
    kept_text_classifier(encoder, NAMES, TEMPLATES)
    (line,) = [record.getMessage() for record in caplog.records if "cannot be kept" in record.getMessage()]
    assert "\n" not in line
    assert line.endswith("name another folder with the environment variable CLIP_BENCH_CACHE")


def test_an_encoder_without_a_hash_of_its_weights_is_not_kept(cache, tmp_path):
    kept_text_classifier(new_encoder(write_config(tmp_path, VIT)), NAMES, TEMPLATES)
    assert not cache.exists()


def test_a_prompt_that_was_cut_is_warned_about_the_second_time_too(encoder, cache):
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"2 of 6 prompts exceed the encoder's 20 tokens and are cut, first 'a"):
            kept_text_classifier(encoder, ["cat", "dog " * 30, "bird"], TEMPLATES)


def test_where_it_lies(monkeypatch, tmp_path):
    assert cache_folder() is None  # in tests
    monkeypatch.setenv("CLIP_BENCH_CACHE", "/x")
    assert cache_folder() == Path("/x/text")
    monkeypatch.delenv("CLIP_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert cache_folder() == Path("/y/clip-compression-bench/text")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/z")
    assert cache_folder() == Path("/z/.cache/clip-compression-bench/text")
