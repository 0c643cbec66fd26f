"""Integrated Gradients in a report: from what the callback writes."""

import base64
from dataclasses import replace

import pytest
from PIL import Image

from bench.attribution.explanations import AttributionRecord, Explanation, ViewExplanation, explanations_csv
from bench.attribution.quadrature import Trapezoid
from bench.attribution.selection import First
from bench.report.document import Gallery
from bench.report.inputs import Choices
from bench.report.sections import attributions
from bench.runs.json_values import plain
from tests.support import made_up
from tests.support.reports import Written, frame, groups_of, tables

VIEWS = {"original": 90, "jpeg-50": 70}


def explanation(index, converged):
    view = ViewExplanation(0.75, 0.5, 0.25, 9, 0.01, converged, {"gini": 0.6, "patch_grid": float("nan")})
    return Explanation(index, 1, {"original": 1, "jpeg-50": 2}, {"original": 0.9, "jpeg-50": 0.4}, {"jpeg-50": view})


@pytest.fixture
def run(tmp_path):
    """A run with attributions of some images, and pictures of them."""

    def write(images, **changes):
        explanations = [explanation(index, converged=index != 1) for index in range(images)]
        choices = {"baseline": "original", "rule": {"name": "Trapezoid", "points": 51}, "selection": {"name": "First"}}
        summary = AttributionRecord.of(explanations, "original", Trapezoid(50), First(images))
        values = plain({**summary.to_json(), **choices, **changes})
        record = replace(made_up.run_record(made_up.nested(VIEWS, 100)), attribution=values)
        folder = made_up.write_run(tmp_path / "run", record).parent / "attributions"
        folder.mkdir()
        (folder / "table.csv").write_text(explanations_csv(explanations, [f"class {c}" for c in range(10)]))
        for index in range(images):
            Image.new("RGB", (4, 4), (index, 0, 0)).save(folder / f"{index}.png")
        return tmp_path / "run"

    return write


def section_of(folder):
    return attributions.section(groups_of(folder)[0], Choices())


def test_means_residuals_and_what_did_not_converge_are_shown(run):
    section = section_of(run(3))
    (row,) = frame(section, "attributions.csv")
    assert (row["view"], row["images"], row["not_converged"]) == ("jpeg-50", 3, 1)
    assert (row["mean_ig"], row["residual_median"], row["mean_patch_grid"]) == (0.75, 0.25, None)
    assert "RN50: baseline: original; rule: Trapezoid (points 51); selection: First." in section.blocks
    images = tables(section)["attribution-1-images"].frame
    assert images[images["view"] == "jpeg-50"]["ig"].tolist() == [0.75] * 3


def test_pictures_are_capped_with_a_stated_count(run):
    (gallery,) = [block for block in section_of(run(15)).blocks if isinstance(block, Gallery)]
    assert len(gallery.pictures) == 12
    assert "12 of the run's 15 pictures" in gallery.note
    assert [copy for _, _, copy in gallery.copies()][-1] == "cifar10-test-attribution-1-12.png"


@pytest.mark.parametrize("views", [{"jpeg-50": {}}, [], {"jpeg-50": {"mean": {"ig": "x"}}}])
def test_an_attribution_that_cannot_be_read_costs_its_table_only(run, views):
    section = section_of(run(1, views=views))
    assert "its attribution cannot be read" in section.blocks[0]
    assert not frame(section, "attributions.csv")


def test_runs_with_attributions_that_newer_ones_replace_keep_them(run, tmp_path):
    folder = run(1)
    made_up.write_run(tmp_path / "run" / "newer", made_up.run_record(made_up.nested(VIEWS, 100)))
    assert len(frame(section_of(folder), "attributions.csv")) == 1


def renamed(folder, index):
    """The table with another index of its first image."""
    table = folder / "attributions/table.csv"
    head, first, *others = table.read_text().splitlines()
    table.write_text("\n".join([head, f"{index},{first.partition(',')[2]}", *others]))


def linked(folder, name):
    """A file or folder of a run that is a link to one elsewhere."""
    there = folder.parent / f"elsewhere-{name.replace('/', '-')}"
    (folder / name).rename(there)
    (folder / name).symlink_to(there)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: renamed(folder, "../../private"), "table.csv: it cannot be read"),
        (lambda folder: renamed(folder, "x" * 300), "table.csv: it cannot be read"),
        (lambda folder: renamed(folder, "7" * 300), "table.csv: it cannot be read"),
        (lambda folder: renamed(folder, ""), "table.csv: it cannot be read"),
        (lambda folder: linked(folder, "attributions"), "its folder is a link"),
        (lambda folder: linked(folder, "attributions/table.csv"), "not a regular file but a link"),
        (lambda folder: linked(folder, "attributions/0.png"), "no regular files, or too large: 0.png."),
    ],
    ids=["a path", "letters", "digits", "nothing", "a linked folder", "a linked table", "a linked picture"],
)
def test_nothing_that_lies_elsewhere_is_shown_or_copied(run, tmp_path, harm, said):
    folder = run(2)
    private = tmp_path / "private.png"
    Image.new("RGB", (4, 4), (200, 100, 50)).save(private)
    (folder / "attributions/0.png").write_bytes(private.read_bytes())
    harm(folder)
    written = Written(tmp_path / "report", folder)
    [line] = [line for line in written.markdown.splitlines() if said in line.replace("\\", "")]
    assert len(line) < 500
    assert base64.b64encode(private.read_bytes()).decode() not in written.page
    copies = [path.read_bytes() for path in (tmp_path / "report/figures").glob("*-attribution-*.png")]
    assert private.read_bytes() not in copies
    assert len(copies) == ("0.png" in said)
    assert len(frame(section_of(folder), "attributions.csv")) == 1


def test_a_picture_that_is_too_large_is_named_and_not_shown(run):
    folder = run(2)
    with (folder / "attributions/1.png").open("ab") as file:
        file.truncate(2**27)
    section = section_of(folder)
    (gallery,) = [block for block in section.blocks if isinstance(block, Gallery)]
    assert [*gallery.pictures] == ["image 0"]
    assert any("too large: 1.png." in block for block in section.blocks if isinstance(block, str))
