"""Oracle: the encoder itself, uncompiled."""

import shutil
from functools import partial

import pytest
import torch

from bench.clip import compilation
from bench.clip.compilation import CompiledEncoder
from tests.support.checkpoints import RESNET, VIT, build

NEEDS_COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for CPUs with g++")


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, NEEDS_COMPILER])])
@pytest.mark.parametrize("architecture", [VIT, RESNET], ids=["vit", "resnet"])
def test_compiled_embeddings_are_the_encoders(architecture, backend, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    model, size = build(architecture).requires_grad_(False), architecture["vision_cfg"]["image_size"]
    encode = CompiledEncoder(model, images=4)
    with torch.inference_mode():
        for count in (3, 4, 9):
            images = torch.rand(count, 3, size, size)
            expected = model.encode_image(images)
            assert torch.allclose(encode(images), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert encode.works


def test_an_encoder_that_cannot_be_compiled_runs_uncompiled_and_says_why_once(monkeypatch):
    def fail(_images):
        raise RuntimeError("no tool chain")

    model, size = build(VIT).requires_grad_(False), VIT["vision_cfg"]["image_size"]
    encode, images, said = CompiledEncoder(model, images=2), torch.rand(5, 3, size, size), []
    monkeypatch.setattr(encode, "_compiled", fail)
    monkeypatch.setattr(compilation, "rank_zero_info", said.append)
    expected = model.encode_image(images)
    assert torch.equal(encode(images), expected)
    assert torch.equal(encode(images), expected)
    assert len(said) == 1
    assert "runs uncompiled: RuntimeError: no tool chain" in said[0]


def test_a_batch_is_cut_into_passes_of_one_size_and_the_rest_is_not_compiled(monkeypatch):
    model, size = build(VIT).requires_grad_(False), VIT["vision_cfg"]["image_size"]
    encode, sizes = CompiledEncoder(model, images=2), []

    def watched(images):
        sizes.append(len(images))
        return model.encode_image(images)

    monkeypatch.setattr(encode, "_compiled", watched)
    images = torch.rand(5, 3, size, size)
    assert torch.allclose(encode(images), model.encode_image(images), atol=1e-6)
    assert sizes == [2, 2]
