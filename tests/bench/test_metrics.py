from dataclasses import replace

import pytest
import torch
from sklearn import metrics as sklearn_metrics

from bench.metrics import CALIBRATION_BINS, RATES, ViewMetrics
from bench.outcomes import Outcomes
from datamodules.views import NOT_ENCODED

CLASSES, IMAGES = 7, 500


def random_outcomes(seed, labels):
    logits = torch.randn(len(labels), CLASSES, generator=torch.Generator().manual_seed(seed)) * 2
    rows = torch.arange(len(labels))
    return Outcomes.from_logits(logits, labels, rows, rows)


@pytest.fixture(scope="module")
def measured():
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=torch.Generator().manual_seed(9))
    original, view = random_outcomes(0, labels), random_outcomes(1, labels)
    metrics = ViewMetrics(CLASSES, labelled=True, paired=True)
    for rows in torch.arange(IMAGES).split(64):
        metrics.update(view.select(rows), original.select(rows))
    return original, view, metrics.compute()


def test_precision_and_recall_equal_scikit_learn(measured):
    _, view, values = measured
    label, prediction = view.label.numpy(), view.prediction.numpy()
    scores = {"y_true": label, "y_pred": prediction}
    assert values["precision"].item() == pytest.approx(sklearn_metrics.accuracy_score(label, prediction), abs=1e-7)
    for name, average in [("precision", "micro"), ("precision_macro", "macro"), ("precision_per_class", None)]:
        expected = torch.as_tensor(sklearn_metrics.precision_score(**scores, average=average))
        torch.testing.assert_close(values[name].double(), expected.double(), atol=1e-6, rtol=0)
    expected = torch.as_tensor(sklearn_metrics.recall_score(**scores, average=None))
    torch.testing.assert_close(values["recall_per_class"].double(), expected, atol=1e-6, rtol=0)
    assert values["confusion"].tolist() == sklearn_metrics.confusion_matrix(label, prediction).tolist()


def test_top5_equals_scikit_learn(measured):
    _, view, values = measured
    share = (view.rank < 5).double().mean()
    assert values["top5"].item() == pytest.approx(share.item())


def test_paired_metrics_are_shares_of_the_same_images(measured):
    original, view, values = measured
    before, now = original.correct, view.correct
    assert values["broken"].item() == pytest.approx((before & ~now).double().mean().item())
    assert values["repaired"].item() == pytest.approx((~before & now).double().mean().item())
    assert values["drop"].item() == pytest.approx((values["broken"] - values["repaired"]).item())
    assert values["drop"].item() == pytest.approx((before.double().mean() - now.double().mean()).item())
    assert values["flip_rate"].item() == pytest.approx((original.prediction != view.prediction).double().mean().item())
    assert values["loss_increase"].item() == pytest.approx((view.loss - original.loss).mean().item(), abs=1e-6)


def test_calibration_error_equals_the_binned_definition(measured):
    _, view, values = measured
    bins = (view.confidence * CALIBRATION_BINS).floor().clamp(max=CALIBRATION_BINS - 1)
    expected = 0.0
    for inside in (bins == b for b in bins.unique()):
        gap = view.confidence[inside].mean() - view.correct[inside].float().mean()
        expected += inside.float().mean().item() * gap.abs().item()
    assert values["calibration_error"].item() == pytest.approx(expected, abs=1e-6)


def test_unlabelled_images_are_measured_by_flips_alone():
    original, view = (random_outcomes(seed, torch.full((50,), -1)) for seed in (0, 1))
    metrics = ViewMetrics(CLASSES, labelled=False, paired=True)
    metrics.update(view, original)
    assert set(metrics.compute()) - set(RATES) == {"confidence", "flip_rate"}


def test_rates_are_means_over_the_images_that_have_one():
    rows = replace(
        random_outcomes(0, torch.zeros(4, dtype=torch.int64)),
        encoded_bytes=torch.tensor([100, 200, NOT_ENCODED, 600]),
        bits_per_pixel=torch.tensor([1.0, 2.0, torch.nan, 6.0]),
        psnr=torch.tensor([torch.inf, 30.0, torch.nan, 40.0]),
        ssim=torch.tensor([1.0, 0.5, torch.nan, 0.75]),
    )
    metrics = ViewMetrics(CLASSES, labelled=True, paired=True)
    for part in torch.arange(4).split(3):
        metrics.update(rows.select(part), rows.select(part))
    values = {name: metrics.compute()[name].item() for name in RATES}
    assert values == {"encoded_bytes": 300, "bits_per_pixel": 3, "psnr": 35, "ssim": 0.75}


def test_rates_that_no_image_has_are_left_out():
    rows = random_outcomes(0, torch.zeros(4, dtype=torch.int64))
    for known, names in [({}, set()), ({"psnr": torch.full((4,), torch.inf), "ssim": torch.ones(4)}, {"ssim"})]:
        view = replace(rows, encoded_bytes=torch.full((4,), NOT_ENCODED), **known)
        metrics = ViewMetrics(CLASSES, labelled=True, paired=False)
        metrics.update(view, view)
        assert set(metrics.compute()) & set(RATES) == names


def test_top5_is_left_out_where_it_means_nothing():
    assert "top5" not in ViewMetrics(5, labelled=True, paired=False).means


def test_merging_changes_nothing_but_the_number_of_pieces(measured):
    original, view, values = measured
    metrics = ViewMetrics(CLASSES, labelled=True, paired=True)
    metrics.merge()
    for rows in torch.arange(IMAGES).split(64):
        metrics.update(view.select(rows), original.select(rows))
        metrics.merge()
    assert len(metrics.calibration.confidences) == len(metrics.calibration.accuracies) == 1
    found = metrics.compute()
    assert found.keys() == values.keys()
    assert all(torch.equal(found[name], value) for name, value in values.items())
