"""Precision and drop: frames against counting by hand and statsmodels."""

import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from bench.report.inputs import Choices
from bench.report.sections import drop, precision
from bench.report.tables import lay_out
from bench.statistics.paired import drop_interval
from tests.support import made_up
from tests.support.reports import groups_of, tables, texts

COUNTS = {"original": 90, "jpeg-75": 80, "jpeg-50": 70}


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
    for remark in ("The prompts differ", "no content hash", "biased, mostly down"):
        assert remark in remarks
