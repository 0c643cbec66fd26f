"""The paper's numbers: complete, and consistent with what can be checked about them."""

import math

import pytest

from bench.paper import (
    ATTRIBUTIONS,
    ENCODERS,
    PRECISION,
    VIEWS,
    canonical_encoder,
    find_attributions,
    find_precision,
    find_table,
)


def test_all_144_precisions_and_44_attributions_are_there():
    assert sum(len(row) for table in PRECISION for row in table.rows.values()) == 144
    assert all(tuple(table.rows) == ENCODERS for table in PRECISION)
    assert {table.where for table in PRECISION} == {"Figure 1", "Figure 2", "Figure 5", "Figure 6"}
    assert [sum(line.where == f"Table {n}" for line in ATTRIBUTIONS) for n in range(1, 7)] == [2, 2, 10, 10, 10, 10]
    assert all((len(one.predicted), len(one.score), len(one.ig)) == (4, 4, 3) for one in ATTRIBUTIONS)


def test_numbers_equal_the_transcription_of_the_paper(shared):
    import json

    source = json.loads((shared / "paper" / "published.json").read_text())
    printed = {f"{t.data}/{t.split}": {"where": t.where, "rows": t.rows} for t in PRECISION}
    assert printed == {
        name: {"where": table["where"], "rows": {k: tuple(v) for k, v in table["rows"].items()}}
        for name, table in source["precision"].items()
    }
    lines = [
        (
            where,
            table["encoder"],
            table["dataset"],
            row["label"],
            *(tuple(row[k]) for k in ("predicted", "score", "ig")),
        )
        for where, table in source["integrated_gradients"].items()
        for row in table["rows"]
    ]
    assert [(o.where, o.encoder, o.data, o.label, o.predicted, o.score, o.ig) for o in ATTRIBUTIONS] == lines


def test_figure_6_has_multiples_of_one_image_so_precision_is_micro_averaged():
    table = find_table("stl10", "train")
    assert all(math.isclose(p * 5000, round(p * 5000), abs_tol=1e-9) for row in table.rows.values() for p in row)


def test_attributions_are_complete_except_in_the_line_marked_as_a_misprint():
    """IG = ln(p_original / p_degraded) where the printed scores have two significant digits or more."""
    residuals = {}
    for number, line in enumerate(ATTRIBUTIONS):
        for view, total in enumerate(line.ig, 1):
            if min(line.score[0], line.score[view]) >= 0.001:
                residuals[number, view] = abs(total - math.log(line.score[0] / line.score[view]))
    outliers = {number for (number, _), residual in residuals.items() if residual > 0.3}
    assert [ATTRIBUTIONS[number].misprint != "" for number in outliers] == [True]
    assert sum(line.misprint != "" for line in ATTRIBUTIONS) == 1
    assert sorted(residuals.values())[len(residuals) // 2] == pytest.approx(0.005, abs=0.001)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("RN50", "RN50"),
        ("RN50x4-quickgelu", "RN50x4"),
        ("ViT-B/32", "ViT-B-32"),
        ("ViT-L-14-quickgelu", "ViT-L-14"),
        ("ViT-L/14@336px", "ViT-L-14-336"),
        ("ViT-L-14-336-quickgelu", "ViT-L-14-336"),
    ],
)
def test_every_spelling_of_an_encoder_finds_its_row(spelling, name):
    assert canonical_encoder(spelling) == name
    assert find_precision(spelling, "cifar10", "test", "original").value == find_table("cifar10", "test").rows[name][0]


def test_what_the_paper_has_not_is_none():
    assert find_precision("ViT-H-14", "cifar10", "test", "original") is None
    assert find_precision("RN50", "synthetic", "test", "original") is None
    assert find_precision("RN50", "cifar10", "test", "jpeg-100") is None
    assert find_attributions("RN101", "cifar10") == ()
    assert len(find_attributions("ViT-B/32", "stl10")) == 10
    assert VIEWS[0] == "original"


def test_the_papers_constants_cost_no_torch():
    import subprocess
    import sys

    program = "import sys, bench.paper; print(sorted({'torch', 'lightning', 'open_clip', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
