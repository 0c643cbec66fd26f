"""Metrics of a run against scikit-learn and definitions worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from bench.metrics import CALIBRATION_BINS, METRICS, confusion_matrix, measure, page
from bench.outcomes import MEASURED, UNKNOWN, Outcomes

CLASSES, IMAGES = 7, 500
NAMES = {quantity.name for quantity in MEASURED}


def random_outcomes(seed, labels, classes=CLASSES):
    logits = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(seed)) * 2
    return Outcomes.from_logits(logits, labels, torch.arange(len(labels)))


@pytest.fixture(scope="module")
def outcomes():
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=torch.Generator().manual_seed(9))
    return {"original": random_outcomes(0, labels), "jpeg-25": random_outcomes(1, labels)}


@pytest.fixture(scope="module")
def measured(outcomes):
    return measure(outcomes, CLASSES, labelled=True)


def test_precision_and_class_counts_equal_scikit_learn(outcomes, measured):
    rows, found = outcomes["jpeg-25"], measured["jpeg-25"]
    label, prediction = rows.label.numpy(), rows.prediction.numpy()
    assert found.metrics["precision"] == sklearn_metrics.accuracy_score(label, prediction)
    expected = sklearn_metrics.precision_score(label, prediction, average="macro")
    assert found.metrics["precision_macro"] == pytest.approx(expected, abs=1e-15)
    matrix = sklearn_metrics.confusion_matrix(label, prediction)
    assert confusion_matrix(rows, CLASSES).tolist() == matrix.tolist()
    assert found.classes.correct == tuple(matrix.diagonal())
    assert found.classes.predicted == tuple(matrix.sum(0))
    assert found.correct == matrix.trace()


def test_macro_precision_leaves_out_classes_that_nobody_has_or_predicts_as_scikit_learn_does():
    labels = torch.tensor([0, 0, 1, 4])
    logits = torch.eye(6)[[0, 1, 1, 5]]
    found = measure({"original": Outcomes.from_logits(logits, labels, torch.arange(4))}, 6, labelled=True)
    expected = sklearn_metrics.precision_score([0, 0, 1, 4], [0, 1, 1, 5], average="macro", zero_division=0)
    assert found["original"].metrics["precision_macro"] == pytest.approx(expected, abs=1e-15)


def test_largest_confusions_are_those_of_the_matrices(outcomes, measured):
    before, after = (confusion_matrix(outcomes[view], CLASSES).numpy() for view in ("original", "jpeg-25"))
    growth = after - before
    np.fill_diagonal(growth, 0)
    found = measured["jpeg-25"].classes.confusions
    assert [one.after - one.before for one in found] == sorted(growth.flatten().tolist(), reverse=True)[: len(found)]
    for one in found:
        assert (before[one.true, one.predicted], after[one.true, one.predicted]) == (one.before, one.after)
    assert measured["original"].classes.confusions == ()


def test_top5_is_the_share_of_small_ranks(outcomes, measured):
    assert measured["jpeg-25"].metrics["top5"] == (outcomes["jpeg-25"].rank.numpy() < 5).mean()
    few = torch.zeros(4, dtype=torch.int64)
    assert "top5" not in measure({"original": random_outcomes(0, few, 5)}, 5, labelled=True)["original"].metrics


def test_paired_metrics_are_shares_of_the_same_images(outcomes, measured):
    original, view, found = outcomes["original"], outcomes["jpeg-25"], measured["jpeg-25"]
    before, now = original.correct.numpy(), view.correct.numpy()
    assert (found.broken, found.repaired) == ((before & ~now).sum(), (~before & now).sum())
    assert found.metrics["drop"] == pytest.approx(before.mean() - now.mean(), abs=1e-15)
    assert found.metrics["flip_rate"] == (original.prediction.numpy() != view.prediction.numpy()).mean()
    increase = (view.loss.double() - original.loss.double()).mean().item()
    assert found.metrics["loss_increase"] == pytest.approx(increase, abs=1e-12)
    assert {"drop", "flip_rate", "loss_increase"}.isdisjoint(measured["original"].metrics)


def test_calibration_error_has_fifteen_bins_the_last_of_which_holds_confidence_one(outcomes):
    rows = outcomes["jpeg-25"]
    confidence = rows.confidence.clone()
    confidence[:40] = 1.0
    found = measure({"original": replace(rows, confidence=confidence)}, CLASSES, labelled=True)
    exact, right = confidence.double().numpy(), rows.correct.numpy()
    bins = np.minimum((exact * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    expected = sum(abs(exact[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    assert (bins == CALIBRATION_BINS - 1).sum() > 40  # others share the last bin
    assert found["original"].metrics["calibration_error"] == pytest.approx(expected, abs=1e-12)


def test_unlabelled_images_are_measured_by_what_needs_no_label():
    unlabelled = torch.full((50,), -1)
    cosine = torch.linspace(0, 1, 50)
    views = {
        "original": random_outcomes(0, unlabelled),
        "jpeg-25": replace(random_outcomes(1, unlabelled), cosine=cosine),
    }
    found = measure(views, CLASSES, labelled=False)
    assert set(found["jpeg-25"].metrics) == {"confidence", "flip_rate", "cosine"}
    assert found["jpeg-25"].metrics["cosine"] == pytest.approx(0.5)
    assert found["jpeg-25"].classes is None


def test_means_are_over_the_images_that_have_one():
    rows = replace(
        random_outcomes(0, torch.zeros(4, dtype=torch.int64)),
        encoded_bytes=torch.tensor([100, 200, UNKNOWN, 600], dtype=torch.int32),
        bits_per_pixel=torch.tensor([1.0, 2.0, math.nan, 6.0]),
        psnr=torch.tensor([math.inf, 30.0, math.nan, 40.0]),
        ssim=torch.tensor([1.0, 0.5, math.nan, 0.75]),
    )
    metrics = measure({"original": rows}, CLASSES, labelled=True)["original"].metrics
    found = {name: metrics[name] for name in ("encoded_bytes", "bits_per_pixel", "psnr", "ssim")}
    assert found == {"encoded_bytes": 300, "bits_per_pixel": 3, "psnr": 35, "ssim": 0.75}


def test_times_are_medians_over_the_images_that_have_one():
    times = {"encode_ms": torch.tensor([4.0, math.nan, 1.0, 90.0, 2.0]), "decode_ms": torch.full((5,), math.nan)}
    rows = replace(random_outcomes(0, torch.zeros(5, dtype=torch.int64)), **times)
    metrics = measure({"original": rows}, CLASSES, labelled=True)["original"].metrics
    assert metrics["encode_ms"] == 3
    assert "decode_ms" not in metrics
    assert [metric.name for metric in METRICS if metric.noisy] == ["encode_ms", "decode_ms"]


def test_means_that_no_image_has_are_left_out(measured):
    assert NAMES & set(measured["original"].metrics) == {"loss", "probability", "confidence"}


def test_every_metric_is_declared_once_and_all_that_are_measured_are_declared(measured):
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert [name for name in names if name in measured["jpeg-25"].metrics] == list(measured["jpeg-25"].metrics)


def test_documentation_is_made_of_the_declarations(repository):
    assert (repository / "docs/metrics.md").read_text(encoding="utf-8") == page()
