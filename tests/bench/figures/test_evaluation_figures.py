"""What the figures of TensorBoard draw, read back from Matplotlib."""

import pytest
import torch

from bench.figures.evaluation import (
    Flip,
    class_figure,
    confusion_figure,
    flip_gallery,
    quality_figure,
    rate_figure,
    side_by_side,
    to_pixels,
)

CLASSES = ["$a$ and $b", "c_d"]  # no formulas
SIZES = {"jpeg-25": 1.0, "jpeg-75": 4.0, "webp-50": 0.5}


def measured(views):
    return {
        view: {
            "precision": torch.tensor(0.5 + place / 100),
            "loss": torch.tensor(1.0),
            "precision_per_class": torch.tensor([0.5, 1.0]),
            "recall_per_class": torch.tensor([0.5, 1.0]),
            "confusion": torch.tensor([[1, 1], [0, 2]]),
            **({"bits_per_pixel": torch.tensor(SIZES[view])} if view in SIZES else {}),
        }
        for place, view in enumerate(views)
    }


def test_rates_are_a_line_per_codec_over_the_bits_of_encoded_views():
    (axes,) = rate_figure(measured(["original", "jpeg-75", "jpeg-25", "webp-50", "blur-1"])).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines) == ["webp", "jpeg", "original"]
    assert lines["jpeg"].get_xdata().tolist() == [1, 4]
    assert lines["jpeg"].get_ydata().tolist() == pytest.approx([0.52, 0.51])
    assert lines["webp"].get_xdata().tolist() == [0.5]
    assert axes.get_xscale() == "log"


def test_qualities_leave_out_views_that_have_none():
    figure = quality_figure(measured(["original", "jpeg-75", "jpeg-25", "blur-2", "jp2-psnr-30"]), {"loss": "loss"})
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["jpeg", "original"]


@pytest.mark.parametrize("count", [3, 12, 13])
def test_of_many_views_the_first_are_drawn_and_that_is_said(count):
    views = ["original", *(f"jpeg-{quality}" for quality in range(1, count))]
    metrics = measured(views)
    confusion, classes = confusion_figure(metrics, CLASSES), class_figure(metrics, CLASSES)
    assert [axes.get_title() for axes in confusion.axes if axes.get_title()] == views[:12]
    assert len(classes.axes[0].get_xticks()) == min(count, 12)
    said = "the first 12 of 13 views" in confusion.get_supxlabel()
    assert said == (count > 12) == ("the first 12 of 13 views" in classes.axes[0].get_title())


def test_names_are_drawn_as_they_are():
    metrics = measured(["original", "jpeg-75"])
    pair = side_by_side(torch.zeros(3, 30, 500, dtype=torch.uint8), torch.zeros(3, 15, 250, dtype=torch.uint8))
    assert pair.shape == (192, 392, 3)
    flips = [Flip(0, pair, CLASSES[0], CLASSES[0], CLASSES[1], (0.5, 0.75))]
    for figure in (class_figure(metrics, CLASSES), confusion_figure(metrics, CLASSES), flip_gallery(flips, "jpeg-75")):
        assert to_pixels(figure).std() > 10  # Matplotlib raises at a formula that is none
