import pytest
import torch
from sklearn import metrics as sklearn_metrics

from bench.metrics import CALIBRATION_BINS, ViewMetrics
from bench.outcomes import Outcomes

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
    assert set(metrics.compute()) == {"confidence", "flip_rate"}


def test_top5_is_left_out_where_it_means_nothing():
    assert "top5" not in ViewMetrics(5, labelled=True, paired=False).means
