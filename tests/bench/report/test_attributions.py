"""Integrated Gradients in a report: from what the callback writes."""

import pytest
from PIL import Image

from bench.attribution.explanations import Explanation, ViewExplanation, explanations_csv, summary
from tests.support import made_up

VIEWS = {"original": 90, "jpeg-50": 70}


def explanation(index, converged):
    view = ViewExplanation(0.75, 0.5, 0.25, 9, 0.01, converged, {"gini": 0.6, "patch_grid": float("nan")})
    return Explanation(index, 1, {"original": 1, "jpeg-50": 2}, {"original": 0.9, "jpeg-50": 0.4}, {"jpeg-50": view})


@pytest.fixture
def run(tmp_path):
    """A run with attributions of some images, and pictures of them."""

    def write(images, **changes):
        content = made_up.record(made_up.nested(VIEWS, 100))
        explanations = [explanation(index, converged=index != 1) for index in range(images)]
        choices = {"baseline": "original", "rule": {"name": "Trapezoid", "points": 51}, "selection": {"name": "First"}}
        values = summary(explanations)
        means = {k: None if v != v else v for k, v in values["views"]["jpeg-50"]["mean"].items()}
        values["views"]["jpeg-50"] = {"mean": means, "residual": values["residual"], "not_converged": 1}
        content["attribution"] = {**choices, **values, **changes}
        folder = made_up.write(tmp_path / "run", content).parent / "attributions"
        folder.mkdir()
        (folder / "table.csv").write_text(explanations_csv(explanations, [f"class {c}" for c in range(10)]))
        for index in range(images):
            Image.new("RGB", (4, 4), (index, 0, 0)).save(folder / f"{index}.png")
        return tmp_path / "run"

    return write


def test_means_residuals_and_what_did_not_converge_are_shown(report, run):
    written = report(run(3))
    (row,) = written.rows("attributions.csv")
    assert (row["view"], row["images"], row["not_converged"]) == ("jpeg-50", "3", "1")
    assert (float(row["mean_ig"]), float(row["residual_median"])) == (0.75, 0.25)
    assert row["mean_patch_grid"] == ""
    assert "1 of 3" in written.page
    assert "baseline: original; rule: Trapezoid (points 51); selection: First." in written.page
    assert "IG +0.7500" in written.page


def test_pictures_are_capped_with_a_stated_count_and_are_in_both_forms(report, run):
    written = report(run(15))
    assert written.page.count("data:image/png") == 12
    assert "12 of the run&#x27;s 15 pictures" in written.page
    assert written.markdown.count("-attribution-1-12.png)") == 1
    with Image.open(written.folder / "figures" / "cifar10-test-attribution-1-12.png") as picture:
        assert picture.getpixel((0, 0)) == (11, 0, 0)


def test_an_attribution_that_cannot_be_read_costs_its_table_only(report, run):
    written = report(run(1, views={"jpeg-50": {}}))
    assert "its attribution cannot be read (KeyError" in written.page
    assert len(written.rows("cells.csv")) == 2


def test_runs_with_attributions_that_newer_ones_replace_keep_them(report, run, tmp_path):
    folder = run(1)
    content = made_up.record(made_up.nested(VIEWS, 100))
    made_up.write(tmp_path / "run" / "newer", content)
    assert "IG +0.7500" in report(folder).page
