"""What goes to TensorBoard, read back."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from bench.attribution.explanations import AttributionRecord, Explanation, ViewExplanation
from bench.attribution.quadrature import Trapezoid
from bench.attribution.report import LEAST_IN_A_HISTOGRAM, AttributionReport
from bench.attribution.selection import First
from bench.runs.folder import RunFolder


def explanation(index):
    view = ViewExplanation(float(index), float(index), 0.0, 9, 0.01, True, {"gini": 0.6, "patch_grid": float("nan")})
    return Explanation(index, 0, {"original": 0, "jpeg-50": 1}, {"original": 0.9, "jpeg-50": 0.4}, {"jpeg-50": view})


@pytest.mark.parametrize(("images", "drawn"), [(LEAST_IN_A_HISTOGRAM - 1, False), (LEAST_IN_A_HISTOGRAM, True)])
def test_histograms_need_enough_images_that_have_the_number(tmp_path, images, drawn):
    explanations = [explanation(index) for index in range(images)]
    with SummaryWriter(str(tmp_path)) as writer:
        record = AttributionRecord.of(explanations, "original", Trapezoid(50), First(images))
        AttributionReport(RunFolder(tmp_path), writer).finish(explanations, record, ["a", "b"], "legend")
    found = EventAccumulator(str(tmp_path)).Reload()
    tags = found.Tags()["histograms"]
    assert ("attribution_images/ig/jpeg-50" in tags) == drawn
    assert "attribution_images/patch_grid/jpeg-50" not in tags  # undefined for all of them
    if drawn:
        [event] = found.Histograms("attribution_images/ig/jpeg-50")
        assert (event.histogram_value.num, event.histogram_value.max) == (images, images - 1)
