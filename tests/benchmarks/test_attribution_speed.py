"""The benchmark of attributions, on a tiny encoder: what it counts and that captum's map is the converged one."""

import pytest

from bench.attribution.adaptive import Adaptive
from bench.clip.encoders import load_encoder
from bench.clip.zero_shot import ZeroShotClassifier
from benchmarks.attribution_speed import judge, time_gradients
from datamodules import Synthetic
from datamodules.synthetic import SyntheticSource
from tests.support.checkpoints import RESNET, VIT, build, save_safetensors, write_config


@pytest.fixture(params=[VIT, RESNET], ids=["vit", "resnet"])
def classifier(request, tmp_path):
    weights = save_safetensors(build(request.param), tmp_path / "weights.safetensors")
    encoder = load_encoder(write_config(tmp_path, request.param), weights, "quickgelu")
    return ZeroShotClassifier(encoder, SyntheticSource.classes, ["a {}."])


@pytest.fixture(scope="module")
def batch():
    data = Synthetic(num_workers=0, degradations=["original", "jpeg-50", "jpeg-20"])
    data.setup("test")
    dataset = data.views_of([1, 2])
    return dataset.collate([dataset[0], dataset[1]])


def test_a_baseline_shared_by_two_views_costs_one_gradient(classifier, batch):
    judged = judge(classifier, batch, [Adaptive(max_points=9)], reference=60)
    assert judged[str(Adaptive(max_points=9))].gradients == 8.5
    assert judged["captum gausslegendre"].gradients == 50
    assert judged["captum gausslegendre"].errors.median() < 0.02  # of a tiny random ResNet, which has kinks


def test_every_contestant_is_timed_in_every_round(classifier, batch):
    seconds = time_gradients(classifier, batch, max_batch=5, repetitions=2)
    assert [len(rounds) for rounds in seconds.values()] == [2, 2, 2, 2]
    assert min(min(rounds) for rounds in seconds.values()) > 0
