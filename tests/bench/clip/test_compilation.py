"""Oracle: the encoder itself, uncompiled; FLOPs by hand are in tests/bench/sweep/test_costs.py."""

import pytest
import torch
from torch import nn

from bench.clip import compilation
from bench.clip.compilation import CompiledEncoder, PlainAttention, compiler, image_flops, pays
from tests.support.checkpoints import RESNET, VIT, build

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")


@needs_compiler
@pytest.mark.parametrize("architecture", [VIT, RESNET], ids=["vit", "resnet"])
def test_compiled_embeddings_are_the_encoders(architecture):
    model, size = build(architecture).requires_grad_(False), architecture["vision_cfg"]["image_size"]
    encode = CompiledEncoder(model, images=4)
    with torch.inference_mode():
        for count in (3, 4, 9):
            images = torch.rand(count, 3, size, size)
            expected = model.encode_image(images)
            assert torch.allclose(encode(images), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
        with torch.profiler.profile() as profile:
            encode(images[:4])
    assert encode.works
    called = {event.key for event in profile.key_averages()}
    assert called & {"mkldnn::_linear_pointwise", "mkl::_mkl_linear", "mkldnn::_convolution_pointwise"}
    assert "aten::addmm" not in called, "weights are not packed"


def test_plain_attention_is_torchs():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.rand(2, 5, 16)
    expected, _ = attention(x, x, x, need_weights=False)
    found, weights = PlainAttention(attention)(x, x, x, need_weights=False)
    assert weights is None
    assert torch.allclose(found, expected, atol=1e-6)
    other = torch.rand(2, 3, 16)
    assert torch.equal(PlainAttention(attention)(x, other, other)[0], attention(x, other, other)[0])


def test_the_model_itself_keeps_its_attention():
    model = build(VIT)
    CompiledEncoder(model)
    assert not any(isinstance(module, PlainAttention) for module in model.modules())


def _fail(_images):
    raise RuntimeError("no tool chain")


@pytest.mark.parametrize(("twin", "reason"), [(_fail, "no tool chain"), (lambda x: torch.zeros(len(x), 32), "off by")])
def test_an_encoder_that_cannot_be_compiled_runs_uncompiled_and_says_why(monkeypatch, twin, reason):
    model, size = build(VIT).requires_grad_(False), VIT["vision_cfg"]["image_size"]
    encode, images, said = CompiledEncoder(model, images=2), torch.rand(4, 3, size, size), []
    monkeypatch.setattr(encode, "_compiled", twin)
    monkeypatch.setattr(compilation, "rank_zero_info", said.append)
    expected = model.encode_image(images)
    assert torch.equal(encode(images), expected)
    assert torch.equal(encode(images), expected)
    assert not encode.works
    assert len(said) == 1
    assert reason in said[0]


def test_compiling_pays_for_long_runs_only():
    flops = image_flops(build(VIT), VIT["vision_cfg"]["image_size"])
    assert flops > 0
    assert not pays(100 * flops, cores=2)
    assert pays(1e15, cores=2)
    assert not pays(1e15, cores=1000)
