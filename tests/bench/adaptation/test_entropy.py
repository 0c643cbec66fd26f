"""One stream of batches, held against the loop that one would write by hand."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.adaptation.entropy import Stream, Tent, prediction_entropy, with_own_norms
from bench.clip.encoders import load_encoder
from bench.clip.towers import image_tower
from bench.clip.zero_shot import ZeroShotClassifier
from bench.finetuning.tuning import fingerprint
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT, save_safetensors, write_config
from tests.support.towers import build_awake


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """A classifier of three classes by kind of tower."""
    folder, found = tmp_path_factory.mktemp("clip"), {}
    for kind, config in {"resnet": RESNET, "vit": VIT}.items():
        weights = save_safetensors(build_awake(config), folder / f"{kind}.safetensors")
        encoder = load_encoder(write_config(folder, config, f"{kind}.json"), weights)
        found[kind] = ZeroShotClassifier(encoder, ["cat", "dog", "ship"])
    return found


def batches(classifier, count=3):
    size = classifier.preprocess.geometry.size
    return torch.randn(count, 5, 3, size, size, generator=torch.Generator().manual_seed(0))


def frozen(classifier, images):
    """Unit embeddings by the encoder as it is."""
    with torch.no_grad():
        return functional.normalize(classifier.model.encode_image(images), dim=-1)


def by_hand(classifier, inputs, optimiser, *, batch_statistics):
    """Logits of each batch, from before its own step."""
    model = deepcopy(classifier.model)
    learning = []
    for module in model.visual.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            learning += [module.weight.requires_grad_(True), module.bias.requires_grad_(True)]
            module.train(batch_statistics)  # its running statistics move, and are not used
    steps = optimiser(learning)
    said = []
    for images in inputs:
        embeddings = functional.normalize(model.encode_image(images), dim=-1)
        logits = model.logit_scale.exp() * embeddings @ classifier.text.T
        probabilities = functional.softmax(logits, dim=1)
        loss = -(probabilities * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
        said.append(logits.detach())
    return said


@pytest.mark.parametrize(
    ("kind", "tent", "optimiser"),
    [
        ("resnet", Tent(), lambda learning: torch.optim.Adam(learning, lr=1e-3, betas=(0.9, 0.999))),
        ("resnet", Tent(statistics="source"), lambda learning: torch.optim.Adam(learning, lr=1e-3)),
        (
            "vit",
            Tent(0.01, "sgd"),
            lambda learning: torch.optim.SGD(learning, lr=0.01, momentum=0.9, dampening=0, nesterov=True),
        ),
    ],
    ids=["batch statistics", "source statistics", "layer norms"],
)
def test_a_stream_says_bit_for_bit_what_a_loop_by_hand_says(classifiers, kind, tent, optimiser):
    classifier = classifiers[kind]
    inputs, stream = batches(classifier), Stream(classifier, tent)
    with torch.inference_mode():  # as in Lightning's tests
        said = [classifier.logits(stream.embed(images)) for images in inputs]
    expected = by_hand(classifier, inputs, optimiser, batch_statistics=tent.statistics == "batch")
    assert all(one.equal(other) for one, other in zip(said, expected, strict=True))
    assert not said[-1].allclose(classifier.logits(frozen(classifier, inputs[-1])))


def test_with_resets_a_batch_is_classified_after_one_step_from_the_original_weights(classifiers):
    classifier = classifiers["vit"]
    first, second, _ = batches(classifier)
    stream, alone = Stream(classifier, Tent(0.01, reset="batch")), Stream(classifier, Tent(0.01))
    stream.embed(first)
    before, after = alone.embed(second), alone.embed(second)
    assert stream.embed(second).equal(after)
    assert not before.equal(after)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_the_classifier_stays_as_it_is_bit_for_bit_and_lends_all_that_is_not_adapted(classifiers, kind):
    classifier = classifiers[kind]
    before = fingerprint(classifier.model.state_dict())
    stream = Stream(classifier, Tent())
    for images in batches(classifier):
        stream.embed(images)
    assert fingerprint(classifier.model.state_dict()) == before
    tower = image_tower(classifier.model)
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    copied = dict(with_own_norms(tower, "batch").named_parameters())
    own = {name for name, parameter in tower.named_parameters() if parameter is not copied[name]}
    norms = [name for name, module in tower.named_modules() if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)]
    assert own == {f"{name}.{kind}" for name in norms for kind in ("weight", "bias")}


def test_entropy_falls_from_step_to_step(classifiers):
    classifier = classifiers["resnet"]
    stream, (images, *_) = Stream(classifier, Tent()), batches(classifier)
    entropies = [float(prediction_entropy(classifier.logits(stream.embed(images))).mean()) for _ in range(6)]
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[-1] < entropies[0] - 0.02


def test_without_a_rate_and_with_the_encoders_statistics_nothing_is_adapted(classifiers):
    classifier = classifiers["resnet"]
    stream = Stream(classifier, Tent(0.0, statistics="source"))
    for images in batches(classifier):
        assert stream.embed(images).equal(frozen(classifier, images))


def test_a_batch_without_images_changes_nothing(classifiers):
    classifier = classifiers["vit"]
    images = batches(classifier)[0]
    stream, other = Stream(classifier, Tent()), Stream(classifier, Tent())
    assert stream.embed(images[:0]).shape == (0, 32)
    assert [stream.embed(images) for _ in range(2)][1].equal([other.embed(images) for _ in range(2)][1])


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_none_is_refused(rate):
    with pytest.raises(UserError, match=r"`learning_rate` .* is out of range: choose at least 0"):
        Tent(rate)
