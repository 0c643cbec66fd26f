"""Precision, drop and the paper's numbers: frames against counting by hand and statsmodels."""

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from bench.paper import ATTRIBUTIONS
from bench.report.inputs import Choices
from bench.report.sections import drop, paper, precision
from bench.report.tables import lay_out
from bench.runs.folder import load_run
from bench.statistics.paired import drop_interval
from tests.support import made_up
from tests.support.reports import groups_of, tables, terms, texts

COUNTS = {"original": 90, "jpeg-75": 80, "jpeg-50": 70}
AGAINST = Choices(against_paper=True)


def write(folder, counts=COUNTS, images=100, **changes):
    encoder = changes.pop("encoder", "RN50")
    predictions = made_up.nested(counts, images)
    made_up.write_run(folder / f"run {encoder}", made_up.run_record(predictions, encoder=encoder, **changes))


def test_cells_have_the_statistics_of_their_counts(tmp_path):
    write(tmp_path)
    write(tmp_path, {"original": 90, "jpeg-75": 88}, encoder="RN101")
    cells = groups_of(tmp_path)[0].cells.set_index(["label", "view"])
    raw = [mcnemar([[0, broken], [0, 0]], exact=True).pvalue for broken in (10, 20, 2)]
    tested = [("RN50", "jpeg-75"), ("RN50", "jpeg-50"), ("RN101", "jpeg-75")]
    assert cells.loc[tested, "mcnemar_p"].tolist() == pytest.approx(raw)
    assert cells.loc[tested, "mcnemar_p_holm"].tolist() == pytest.approx(multipletests(raw, method="holm")[1])
    cell = cells.loc[("RN50", "jpeg-50")]
    assert (cell["precision"], cell["drop_points"], cell["broken"], cell["repaired"]) == (0.7, 20, 20, 0)
    assert cell["relative_drop"] == pytest.approx(0.25)
    interval = drop_interval(20, 0, 100)
    assert [cell["drop_points_low"], cell["drop_points_high"]] == [100 * interval.low, 100 * interval.high]
    assert cells.loc[("RN50", "original"), ["drop_points", "drop_points_low", "mcnemar_p"]].isna().all()


def test_the_best_of_each_column_is_bold_and_what_has_no_quality_is_not_drawn(tmp_path):
    write(tmp_path, {**COUNTS, "blur-2": 60})
    write(tmp_path, {"original": 91, "jpeg-75": 80}, encoder="RN101")
    section = precision.section(groups_of(tmp_path)[0], Choices())
    rows = lay_out(tables(section)["precision"]).rows
    assert [[cell.bold for cell in row[1:]] for row in rows] == [[False, True, True, True], [True, True, False, False]]
    assert [cell.text for cell in rows[1]] == ["RN101", "0.9100", "0.8000", "–", "–"]
    (plot,) = [block for block in section.blocks if hasattr(block, "draw")]
    assert "Without a quality, so not drawn: blur-2." in plot.note
    assert len(plot.draw().axes) == 1


def test_drops_show_their_interval_test_and_parts(tmp_path):
    write(tmp_path)
    found = tables(drop.section(groups_of(tmp_path)[0], Choices()))
    (row,) = lay_out(found["drop"]).rows
    assert (row[2].text, row[2].details[1]) == ("20.00", "p < 0.0001")
    assert texts(found["losses"])[1] == ("RN50", "jpeg-50", "0.2500", "20", "20", "0", "0.2500")


def test_one_encoder_on_originals_only_has_no_section_of_drops(tmp_path):
    write(tmp_path, {"original": 3}, 5)
    (group,) = groups_of(tmp_path)
    assert drop.section(group, Choices()) is None
    assert texts(tables(precision.section(group, Choices()))["precision"]) == [("RN50", "0.6000")]


def test_prompts_codecs_and_lossy_sources_are_said_where_they_differ(tmp_path):
    write(tmp_path, lossy_source_formats=["JPEG"], content=None)
    write(tmp_path, encoder="RN101", lossy_source_formats=["JPEG"], content=None, model={"templates": ["{}"]})
    remarks = " ".join(block for block in precision.section(groups_of(tmp_path)[0], Choices()).blocks[:-2])
    for remark in ("The prompts differ", "no content hash", "biased down"):
        assert remark in remarks


def test_runs_equal_to_the_paper_show_no_difference(tmp_path):
    made_up.write_paper(tmp_path)
    groups = groups_of(tmp_path)
    cells = [row for group in groups for row in paper.with_printed(group).to_dict("records")]
    assert len(cells) == 144
    assert max(abs(cell["difference"]) for cell in cells) <= 0.5e-4  # 1/8000 is finer than the paper's digits
    assert max(abs(cell["difference"]) for cell in cells if cell["data"] == "cifar10") == 0
    assert not any(cell["published_outside_interval"] for cell in cells)
    total = texts(tables(paper.section(groups))["against-paper"])[-1]
    assert (total[0], total[1], total[2], total[-1]) == ("all", "144", "144", "0")


def test_runs_changed_by_known_amounts_show_exactly_these(tmp_path):
    changes = {("RN50", "jpeg-50"): -300, ("ViT-B-16", "original"): 20, ("RN50x4", "jpeg-25"): -90}
    for encoder in ("RN50", "ViT-B-16", "RN50x4"):
        counts, images = made_up.paper_counts("cifar10", "test", encoder)
        counts = {view: count + changes.get((encoder, view), 0) for view, count in counts.items()}
        write(tmp_path, counts, images, encoder=encoder)
    (group,) = groups_of(tmp_path)
    found = {
        (cell["encoder"], cell["view"]): (round(cell["difference"], 9), cell["published_outside_interval"])
        for cell in paper.with_printed(group).to_dict("records")
        if abs(cell["difference"]) > 0.5e-4
    }
    assert found == {  # 95% is about 0.0098 at 0.49 and 10,000 images, 0.0059 at 0.9, 0.0093 at 0.35
        ("RN50", "jpeg-50"): (-0.03, 1),
        ("ViT-B-16", "original"): (0.002, 0),
        ("RN50x4", "jpeg-25"): (-0.009, 0),
    }
    row = texts(tables(paper.section([group]))["against-paper"])[0]
    assert row == ("cifar10/test, 10000 images (Figure 1)", "12", "9", "0.00342", "0.03000", "RN50, jpeg-50", "1")
    rows = lay_out(tables(precision.section(group, AGAINST))["precision"]).rows
    marked = [(row[0].text, place, cell.details[1]) for row in rows for place, cell in enumerate(row) if cell.marked]
    assert marked == [("RN50", 3, "paper 0.4689, −0.0300")]


@pytest.mark.parametrize(
    ("change", "images", "reason"),
    [
        ({"encoder": "ViT-H-14"}, 10_000, "the paper has no such encoder"),
        ({"model": {"pretrained": "laion2b"}}, 10_000, "weights laion2b, the paper's are OpenAI's"),
        ({}, 1000, "1000 images, the paper's split has 10000"),
        ({"model": {"templates": ["{}"]}}, 10_000, 'prompt "{}", the paper\'s is "This is an image of a {}."'),
        ({"lossy_source_formats": ["JPEG"]}, 10_000, "the source images are compressed already"),
        ({"data": "synthetic"}, 10_000, "the paper has no such data set and split"),
    ],
)
def test_other_experiments_are_not_compared_and_the_reason_is_given(tmp_path, change, images, reason):
    write(tmp_path, {"original": images // 2, "jpeg-75": images // 3}, images, **change)
    groups = groups_of(tmp_path)
    assert paper.incomparable(groups[0], groups[0].entries[0]) == reason
    assert "published" not in paper.with_printed(groups[0])
    section = paper.section(groups)
    assert section.blocks[0] == "No measurement is comparable with one of the paper."
    assert list(terms(section).values()) == [reason]


def test_views_that_the_paper_has_not_stand_alone(tmp_path):
    counts, images = made_up.paper_counts("cifar10", "test", "RN50")
    write(tmp_path, {**counts, "webp-50": 5000}, images, encoder="RN50-quickgelu")
    frame = paper.with_printed(groups_of(tmp_path)[0])
    compared = dict(zip(frame["view"], frame["published"].notna(), strict=True))
    assert compared == {**dict.fromkeys(counts, True), "webp-50": False}


def test_attributions_of_the_printed_labels_in_their_order_are_compared(tmp_path):
    printed = [line for line in ATTRIBUTIONS if line.where == "Table 3"]
    record = made_up.run_record(made_up.nested({"original": 5, "jpeg-75": 5}, 10))
    folder = made_up.write_run(tmp_path / "run", replace(record, attribution={})).parent / "attributions"
    folder.mkdir()
    rows = [f"{place},{line.label},{line.ig[0] + 0.5}" for place, line in enumerate(printed)]
    (folder / "table.csv").write_text("\n".join(["index,label,ig/jpeg-75", *rows]))
    (row,) = paper.compare_attributions("RN50", load_run(tmp_path / "run"))
    assert (row["where"], row["view"], row["images"]) == ("Table 3", "jpeg-75", 10)
    assert row["measured"] - row["printed"] == pytest.approx(0.5)
    assert row["difference"] == pytest.approx(0.5)
    assert row["printed"] == pytest.approx(np.mean([line.ig[0] for line in printed]))
    assert row["same_sign"] == sum(line.ig[0] > 0 or line.ig[0] < -0.5 for line in printed)
    assert row["incomplete"] == pytest.approx(
        np.median([abs(line.ig[0] - np.log(line.score[0] / line.score[1])) for line in printed])
    )
    (folder / "table.csv").write_text("\n".join(["index,label,ig/jpeg-75", *reversed(rows)]))
    assert paper.compare_attributions("RN50", load_run(tmp_path / "run")) == []


def test_the_printed_attributions_are_complete_to_their_digits():
    lacking = [
        abs(line.ig[place] - np.log(line.score[0] / line.score[place + 1]))
        for line in ATTRIBUTIONS
        for place in range(3)
        if not line.misprint and min(line.score) > 0.05
    ]
    assert len(lacking) > 60
    assert np.median(lacking) < 0.01
