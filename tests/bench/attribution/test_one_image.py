"""Explaining one image without a run."""

import math

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from bench import load_encoder
from bench.attribution import explain
from bench.attribution.overlay import SignedOverlay
from bench.attribution.paper_overlay import PaperOverlay
from bench.attribution.quadrature import GaussLegendre, Trapezoid
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.degradations import degrade
from datamodules.errors import UserError
from tests.support.documents import python_blocks

NAMES = ["cat", "dog", "bird"]


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return load_encoder(tiny_clip[1], tiny_clip[3])


@pytest.fixture(scope="module")
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))


def loss(classifier, image, label):
    return -math.log(classifier.probabilities(image)[0, label].item())


def test_total_is_the_change_of_the_loss_of_the_true_class(encoder, image):
    classifier = ZeroShotClassifier(encoder, NAMES)
    found = explain(classifier, image, "jpeg-10", 1)
    change = loss(classifier, degrade(image, "jpeg-10").image, 1) - loss(classifier, image, 1)
    assert found.loss_difference == pytest.approx(change, abs=1e-5)
    assert found.total == pytest.approx(float(found.attribution.sum(dtype=np.float64)), abs=1e-6)
    assert found.residual == pytest.approx(abs(found.total - found.loss_difference), abs=1e-7)
    assert found.residual < 1e-4
    assert found.converged


def test_images_arrays_tensors_and_names_of_views_and_classes_give_the_same(encoder, image):
    expected = explain(encoder, image, "jpeg-10", 2, NAMES, GaussLegendre(4))
    pixels = np.asarray(image)
    degraded = pil_to_tensor(degrade(image, "jpeg-10").image)
    for original, target in [(pixels, "jpeg-10"), (image, degraded)]:
        found = explain(encoder, original, target, "bird", NAMES, GaussLegendre(4))
        np.testing.assert_array_equal(found.attribution, expected.attribution)


def test_drawing_is_the_overlay_over_the_degraded_image(encoder, image):
    found = explain(encoder, image, "resize-0.5+jpeg-10", 0, NAMES, Trapezoid(2))
    seen = degrade(image, "resize-0.5+jpeg-10").image  # of 24 x 20 pixels, its shorter side becomes 32
    assert seen.size == (24, 20)
    assert found.degraded.shape == (3, 32, 32)
    for drawn, overlay in [(found.draw(), SignedOverlay()), (found.draw(PaperOverlay()), PaperOverlay())]:
        expected = overlay.draw(found.degraded, found.attribution)
        np.testing.assert_array_equal(np.asarray(drawn).transpose(2, 0, 1), expected)


@pytest.mark.parametrize(
    ("label", "names", "says"),
    [("fish", NAMES, "'fish' is none of the classes: choose one of cat, dog, bird"), (3, NAMES, "choose 0 to 2")],
)
def test_a_label_that_is_no_class_is_named(encoder, image, label, names, says):
    with pytest.raises(UserError, match=says):
        explain(encoder, image, "jpeg-10", label, names)


def test_a_view_that_crops_has_no_path_from_the_whole_image(encoder, image):
    with pytest.raises(UserError, match=r"'crop-16\+jpeg-10' shows another part.*degrade\(image, 'crop-16'"):
        explain(encoder, image, "crop-16+jpeg-10", 0, class_names=["a", "b"])


def test_the_rule_of_the_page_is_complete_short_and_as_exact_as_simpsons(repository, encoder, image):
    page = repository / "docs/extending/quadrature_rule.md"
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 30
    [program] = python_blocks(page)
    names = {"__name__": "simpson"}
    exec(program, names)
    points, weights = names["Simpson"](4).nodes()
    for degree in range(4):
        assert (weights @ points**degree).item() == pytest.approx(1 / (degree + 1), abs=1e-14)
    found = explain(encoder, image, "jpeg-10", 0, NAMES, names["Simpson"]())
    assert found.evaluations == 9
    assert found.residual < 1e-3
