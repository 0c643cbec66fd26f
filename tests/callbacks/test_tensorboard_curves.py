"""What the curves of a run say, read back from TensorBoard and from what is drawn."""

import math

import numpy as np
import pytest
from scipy.stats import t
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from bench.runs.view_record import ClassCounts, ViewRecord
from bench.statistics.intervals import wilson
from bench.statistics.paired import drop_interval
from callbacks import tensorboard_curves
from callbacks.tensorboard_curves import RunCurves

IMAGES = 100


def record(correct, broken=0, repaired=0, **metrics):
    classes = ClassCounts((correct,), (IMAGES,))
    return ViewRecord(
        {"precision": correct / IMAGES, "loss": 1 - correct / IMAGES, **metrics}, 30, broken, repaired, classes
    )


VIEWS = {
    "original": record(90),
    "jpeg-75": record(86, 6, 2, encoded_bytes=900.0, bits_per_pixel=7.0),
    "jpeg-25": record(60, 32, 2, encoded_bytes=700.0, bits_per_pixel=5.0),
    "webp-25": record(80, 12, 2, encoded_bytes=300.0, bits_per_pixel=2.0),
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The events of `VIEWS`, and the panels and statements that were drawn."""
    drawn = []
    card = tensorboard_curves.quality_card

    def recording(panel, statement):
        drawn.append((panel, statement))
        return card(panel, statement)

    monkeypatch.setattr(tensorboard_curves, "quality_card", recording)
    with SummaryWriter(str(tmp_path)) as writer:
        RunCurves("RN50", VIEWS, IMAGES).write(writer)
    return EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload(), drawn


def test_cards_of_every_codec_and_scalars_by_quality_and_bytes(written):
    events, _ = written
    cards = {f"answer/{quantity}/{codec}" for quantity in ("drop", "precision", "loss") for codec in ("jpeg", "webp")}
    assert set(events.Tags()["images"]) == cards | {"answer/rate", "report_full_size/curves", "report_full_size/rate"}
    assert {events.Images(tag)[0].width for tag in cards} == {690}
    assert {one.step: one.value for one in events.Scalars("quality/precision/jpeg")} == pytest.approx(
        {25: 0.6, 75: 0.86}
    )
    assert {one.step: one.value for one in events.Scalars("rate/precision/jpeg")} == pytest.approx(
        {700: 0.6, 900: 0.86}
    )


def test_drop_and_precision_have_their_intervals_and_the_statement_is_of_the_lowest_quality(written):
    _, drawn = written
    (drop, told), (precision, _), (loss, _) = drawn[:3]
    interval = drop_interval(32, 2, IMAGES)
    quality, worst = drop.lines[0].points[0]
    assert (quality, worst.value) == (25, 30)
    assert (worst.low, worst.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert told.startswith(f"jpeg-25 costs 30.0 points [{worst.low:.1f}, {worst.high:.1f}]\n(95% interval; RN50")
    measured = precision.lines[0].points[0][1]
    assert (measured.low, measured.high) == (wilson(60, IMAGES).low, wilson(60, IMAGES).high)
    assert all(math.isnan(one.low) for _, one in loss.lines[0].points)


def test_students_interval_of_a_loss_that_few_images_make_up_misses_the_mean_too_often():
    """Why a loss has none: 1% of the images are wrong, by some nats each."""
    random = np.random.default_rng(0)
    samples = (random.random((2_000, 200)) < 0.01) * random.exponential(3.0, (2_000, 200))
    half = t.ppf(0.975, 199) * samples.std(1, ddof=1) / math.sqrt(200)
    assert (np.abs(samples.mean(1) - 0.03) <= half).mean() < 0.85  # 95% is what it promises
