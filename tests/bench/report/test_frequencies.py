"""Frequencies in a report: from what the callback writes."""

from dataclasses import replace

import numpy as np
import pytest

from bench.attribution.explanations import AttributionRecord, Explanation, ViewExplanation
from bench.attribution.quadrature import Trapezoid
from bench.attribution.selection import First
from bench.attribution.spectra import PARTS, Spectrum, costliest_blocks, mean_spectrum, spectra_table
from bench.report.document import Plot
from bench.report.inputs import Choices
from bench.report.sections import frequencies
from bench.runs.json_values import plain
from tests.support import made_up
from tests.support.reports import frame, groups_of, tables

VIEWS = {"original": 90, "jpeg-50": 70}


@pytest.fixture
def run(tmp_path):
    """A run of some images, of which each loses 0.5 nats in one coefficient of luma and 0.25 in chroma, or nothing."""

    def write(images, costs=(1.0, 1.5)):
        explanations = []
        for index in range(images):
            cost = costs[index % 2]
            nats = np.zeros((3, 8, 8))
            nats[0, 1, 3], nats[1, 0, 0] = 0.5 * cost, 0.25 * cost
            parts = dict.fromkeys(PARTS, 0.0) | {"luma_mid": 0.5 * cost, "chroma": 0.25 * cost}
            spectrum = Spectrum(nats, np.array([[0.75 * cost, 0.0]]), parts, subsampled=True)
            view = ViewExplanation(0.75 * cost, 0.75 * cost, 0.0, 9, 0.01, True, parts, spectrum)
            explanations.append(Explanation(index, 1, {"original": 1}, {"original": 0.9}, {"jpeg-50": view}))
        summary = AttributionRecord.of(explanations, "original", Trapezoid(50), First(images)).to_json()
        record = replace(made_up.run_record(made_up.nested(VIEWS, 100)), attribution=plain(summary))
        folder = made_up.write_run(tmp_path / "run", record).parent / "attributions"
        folder.mkdir()
        spectra = {image.index: image.views["jpeg-50"].spectrum for image in explanations}
        spectra_table([mean_spectrum("jpeg-50", list(spectra.values()))]).to_csv(folder / "frequencies.csv")
        costliest_blocks({"jpeg-50": spectra}, 20).to_csv(folder / "blocks.csv")
        return tmp_path / "run"

    return write


def section_of(folder):
    return frequencies.section(groups_of(folder)[0], Choices())


def test_parts_are_means_with_paired_shares_of_the_sum(run):
    section = section_of(run(40))
    rows = {row["part"]: row for row in frame(section, "attribution_parts.csv")}
    assert "halving of chroma" not in rows  # nothing of it in any image
    assert rows["luma, mid"]["nats"] == pytest.approx(0.625)
    assert rows["luma, mid"]["nats_low"] < 0.625 < rows["luma, mid"]["nats_high"]
    for part, share in {"luma, mid": 2 / 3, "chroma": 1 / 3, "luma, high": 0.0}.items():
        values = [rows[part][name] for name in ("share", "share_low", "share_high")]
        assert values == pytest.approx([share] * 3)  # the same in every image, however they are drawn
    assert rows["all together"]["nats"] == pytest.approx(0.9375)
    assert np.isnan(rows["all together"]["share"])


def test_without_a_sum_above_0_there_are_no_shares(run):
    rows = frame(section_of(run(40, costs=(1.0, -1.0))), "attribution_parts.csv")
    assert np.isnan([row["share"] for row in rows]).all()


def test_maps_and_the_costliest_blocks_are_shown(run):
    section = section_of(run(40))
    [plot] = [block for block in section.blocks if isinstance(block, Plot)]
    assert "Y: sum +625" in [axes.get_title() for axes in plot.draw().axes]
    assert "16 pixels wide" in plot.note
    blocks = tables(section)["frequencies-1-blocks"].frame
    assert blocks["nats"].tolist() == [1.125] * 5
    assert blocks["index"].tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("frequencies.csv", "nats_low", "other"),
        ("frequencies.csv", "Cb", "Y"),
        ("frequencies.csv", "0.625", "inf"),
        ("blocks.csv", "1.125", "many"),
        ("blocks.csv", "index", "x"),
    ],
)
def test_a_damaged_file_costs_only_what_it_holds(run, file, before, after):
    folder = run(40)
    path = folder / "attributions" / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    section = section_of(folder)
    assert frame(section, "attribution_parts.csv")
    assert "frequencies-1-blocks" not in tables(section)
    assert any(isinstance(block, Plot) for block in section.blocks) == (file == "blocks.csv")
    assert any(
        "its frequencies or blocks cannot be read" in block for block in section.blocks if isinstance(block, str)
    )


@pytest.mark.parametrize("file", ["frequencies.csv", "blocks.csv"])
def test_a_table_that_is_a_link_is_not_followed(run, tmp_path, file):
    folder = run(40)
    (folder / "attributions" / file).rename(tmp_path / "elsewhere.csv")
    (folder / "attributions" / file).symlink_to(tmp_path / "elsewhere.csv")
    said = [block for block in section_of(folder).blocks if isinstance(block, str)]
    assert [block.endswith("(it is not a regular file but a link).") for block in said] == [True]


def test_a_views_name_does_not_become_a_files(run):
    folder = run(40)
    path = folder / "attributions/frequencies.csv"
    path.write_text(path.read_text().replace("jpeg-50", "../../jpeg-50"))
    [plot] = [block for block in section_of(folder).blocks if isinstance(block, Plot)]
    assert "/" not in plot.name


def test_a_run_of_an_older_version_has_no_such_section(tmp_path):
    made_up.write_run(tmp_path / "run", made_up.run_record(made_up.nested(VIEWS, 100)))
    assert section_of(tmp_path / "run") is None
