import json
import re

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bench.clip.encoders import load_encoder
from bench.clip.text_classifier import text_classifier
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.errors import UserError
from tests.support.checkpoints import VIT, build, save_safetensors, write_config

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TEMPLATES = ["This is an image of a {}.", "a photo of the {}."]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return load_encoder(write_config(folder, VIT), save_safetensors(build(VIT), folder / "w.safetensors"))


@pytest.fixture(scope="module")
def sigmoid_encoder(tmp_path_factory):
    """A model with a logit bias, as SigLIP has."""
    folder = tmp_path_factory.mktemp("sigmoid")
    config = {**VIT, "init_logit_bias": -10.0}
    return load_encoder(write_config(folder, config), save_safetensors(build(config), folder / "w.safetensors"))


def _images(count, size=32):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("templates", [TEMPLATES[:1], TEMPLATES])
def test_text_classifier_equals_open_clips(encoder, templates):
    expected = open_clip.build_zero_shot_classifier(encoder.model, encoder.tokenizer, NAMES, templates).T
    got = text_classifier(encoder, NAMES, templates)
    assert (got - expected).abs().max() < 1e-6
    assert got.norm(dim=1) == pytest.approx(1, abs=1e-6)


def test_many_classes_in_several_passes_equal_few(encoder):
    many = [f"thing {i}" for i in range(300)]
    got = text_classifier(encoder, many, TEMPLATES)
    assert got.shape == (300, 32)
    assert (got[250:253] - text_classifier(encoder, many[250:253], TEMPLATES)).abs().max() < 1e-6


def test_braces_in_a_class_name_are_plain_text(encoder):
    assert text_classifier(encoder, ["{x}", "{}"], TEMPLATES).isfinite().all()


@pytest.mark.parametrize("which", ["encoder", "sigmoid_encoder"])
def test_logits_are_the_models_own(which, request):
    encoder = request.getfixturevalue(which)
    classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES[:1])
    images = _images(5)
    prompts = encoder.tokenizer([TEMPLATES[0].format(name) for name in NAMES])
    with torch.no_grad():
        expected, _ = encoder.model.get_logits(classifier.preprocess(images), prompts)
        assert (classifier(images) - expected).abs().max() < 1e-5


def test_empty_batch_gives_no_logits(encoder):
    classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
    assert classifier(_images(0)).shape == (0, 10)
    assert classifier([]).shape == (0, 10)


def test_images_of_unequal_size_equal_one_by_one(encoder):
    classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
    images = [_images(1, size)[0] for size in (32, 50, 41)]
    one_by_one = torch.cat([classifier(image[None]) for image in images])
    assert (classifier(images) - one_by_one).abs().max() < 1e-5


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_gradient_reaches_the_pixels_whatever_mode_surrounds_it(encoder, mode):
    """An attribution engine runs inside the trainer's inference mode, and leaves it for its gradients."""
    with mode():
        classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
        pixels = classifier.pixels(_images(2))
        with torch.inference_mode(False), torch.enable_grad():
            pixels.requires_grad_()
            (gradient,) = torch.autograd.grad(classifier.pixel_logits(pixels)[:, 3].sum(), pixels)
    assert gradient.shape == pixels.shape
    assert gradient.abs().amax(dim=(1, 2, 3)).min() > 0


def test_pixel_gradient_agrees_with_a_finite_difference(encoder):
    classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
    pixels = classifier.pixels(_images(1)).requires_grad_()
    direction = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(classifier.pixel_logits(pixels)[0, 3], pixels)
    with torch.no_grad():
        up, down = (classifier.pixel_logits(pixels + h * direction)[0, 3] for h in (1e-2, -1e-2))
    assert (gradient * direction).sum().item() == pytest.approx((up - down).item() / 2e-2, rel=2e-2, abs=1e-3)


def test_autocast_gives_float32_logits_close_to_full_precision(encoder):
    classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
    images = _images(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        built = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
        low = classifier(images)
    assert torch.equal(built.text, classifier.text)
    assert low.dtype == torch.float32
    assert (low - classifier(images)).abs().max() < 0.2  # bfloat16 carries 8 bits of a cosine times 14


@pytest.mark.parametrize(
    ("names", "templates", "match"),
    [
        ([], TEMPLATES, "no class names"),
        (["cat", "dog", "cat"], TEMPLATES, "'cat' occurs 2 times"),
        (NAMES, [], "no templates"),
        (NAMES, ["{}", "a photo"], "'a photo' must contain '{}'"),
        (NAMES, ["{} and {}"], "'{} and {}' must contain '{}' once"),
    ],
)
def test_unusable_prompts_are_refused(encoder, names, templates, match):
    with pytest.raises(UserError, match=re.escape(match)):
        ZeroShotClassifier(encoder, names, templates)


def test_prompt_that_the_tokenizer_cuts_is_warned_about(encoder):
    with pytest.warns(UserWarning, match=r"1 of 2 prompts exceed the encoder's 20 tokens"):
        text_classifier(encoder, ["cat", "dog " * 30], TEMPLATES[:1])


def _cifar(shared, count):
    with Image.open(shared / "cifar10" / "test.png") as sprite:
        rows = np.asarray(sprite.crop((0, 0, sprite.width, count)))
    return [Image.fromarray(row.reshape(32, 32, 3)) for row in rows]


def test_real_images_get_the_logits_of_plain_open_clip(shared):
    """Oracle: Pillow, torchvision, open_clip's transform, tokenizer and zero-shot classifier, image by image."""
    config = json.loads((shared / "standin" / "tiny-rn-64.json").read_text())
    encoder = load_encoder(
        str(shared / "standin" / "tiny-rn-64.json"), str(shared / "standin" / "tiny-rn-64.safetensors")
    )
    images = _cifar(shared, 300)
    model = build(config)
    weights = load_file(shared / "standin" / "tiny-rn-64.safetensors")
    model.load_state_dict({k: v.float() for k, v in weights.items()})
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=64), is_train=False)
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    text = open_clip.build_zero_shot_classifier(model, tokenizer, NAMES, TEMPLATES[:1])
    with torch.no_grad():
        rows = [model.encode_image(transform(image)[None], normalize=True) for image in images]
        expected = model.logit_scale.exp() * torch.cat(rows) @ text
        batch = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
        got = ZeroShotClassifier(encoder, NAMES, TEMPLATES[:1])(batch)
    assert (got - expected).abs().max() < 1e-4
    assert torch.equal(got.argmax(1), expected.argmax(1))
    assert len(expected.argmax(1).unique()) == 10


class NoFloat64(TorchDispatchMode):
    """Refuses what Apple's devices do not have, from whatever it is computed."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        found = [value for value in pytree.tree_leaves(result) if isinstance(value, torch.Tensor)]
        assert not any(value.dtype in (torch.float64, torch.complex128) for value in found), operation
        return result


@pytest.mark.parametrize("size", [20, 32, 75], ids=["enlarged", "as it is", "shrunk"])
@pytest.mark.parametrize("which", ["encoder", "sigmoid_encoder"])
def test_nothing_that_runs_on_the_device_is_float64(which, size, request):
    encoder = request.getfixturevalue(which)
    with NoFloat64():
        classifier = ZeroShotClassifier(encoder, NAMES, TEMPLATES)
        classifier(_images(2, size))
        classifier.pixel_logits(classifier.pixels(_images(2, size)).requires_grad_(True)).sum().backward()
    with pytest.raises(AssertionError), NoFloat64():
        _images(1).double()


def test_prompts_of_many_lengths_stay_with_their_classes(encoder):
    names = [f"thing {'very ' * (number % 7)}{number}" for number in range(40)]
    expected = open_clip.build_zero_shot_classifier(encoder.model, encoder.tokenizer, names, TEMPLATES).T
    told = []
    got = text_classifier(encoder, names, TEMPLATES, lambda done, total: told.append((done, total)))
    assert (got - expected).abs().max() < 1e-6
    assert told == sorted(told)
    assert told[0] == (0, 80)
    assert told[-1] == (80, 80)
