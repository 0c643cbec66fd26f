"""Runs made up to equal published figures, and runs changed by known amounts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bench.paper import TEMPLATE, VIEWS
from bench.references.attributions import compare_attributions, printed_attributions
from bench.references.command import main
from bench.references.names import NAMES
from bench.references.sources import load
from bench.report.coverage import coverage
from bench.report.inputs import Choices
from bench.report.sections import precision, references
from bench.report.tables import lay_out
from bench.runs.folder import load_run
from datamodules.stl10 import CLASSES
from tests.support import made_up
from tests.support.reports import groups_of, tables, terms, texts

NAMES_OF = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "stl10": CLASSES,
}


def write(folder, counts, images=100, **changes):
    encoder = changes.pop("encoder", "RN50")
    predictions = made_up.nested(counts, images)
    made_up.write_run(folder / f"run {encoder}", made_up.run_record(predictions, encoder=encoder, **changes))


def write_figures(folder, name, every=1, change=None, **further):
    """Runs that equal what a source prints of every so many of its models, where class names need no ImageNet."""
    source = load(name)
    for number, row in enumerate(source.rows[::every]):
        for table in source.tables:
            if table.class_names is None or table.data in NAMES_OF:
                names = {"class_names": NAMES_OF[table.data]} if table.class_names else {}
                record = made_up.record_of_figures(source.figures(row, table), change, **names, **further)
                made_up.write_run(folder / f"{number}-{source.tables.index(table)}", record)


def cells_beside(folder, name):
    return [row for group in groups_of(folder) for row in references.beside(group, load(name)).to_dict("records")]


@pytest.mark.parametrize(("name", "every", "cells"), [
    ("openclip", 3, 3 * 40), ("cifar10-c", 4, 6 * 5), ("cifar100-c", 4, 4 * 5), ("imagenet-c", 4, 3 * 5),
    ("imagenet-testbed", 40, 5 * 6),
])  # fmt: skip
def test_runs_equal_to_a_source_show_no_difference_and_one_changed_image_in_ten_thousand_is_found(
    tmp_path, name, every, cells
):
    write_figures(tmp_path, name, every)
    found = cells_beside(tmp_path, name)
    assert len(found) == cells
    assert all(cell["equal"] and abs(cell["difference"]) < 0.51 * 10.0 ** -load(name).decimals for cell in found)
    assert sum(cell["outside"] or 0 for cell in found) == 0
    view = load(name).tables[0].views[0]
    write_figures(tmp_path / "changed", name, every * 4, change={view: 1})
    changed = [cell for cell in cells_beside(tmp_path / "changed", name) if not cell["equal"]]
    assert {cell["view"] for cell in changed} == {view}
    assert all(
        cell["difference"] == pytest.approx(1 / cell["images"], abs=0.51 * 10.0 ** -load(name).decimals)
        for cell in changed
    )


def test_runs_equal_to_the_paper_show_no_difference(tmp_path):
    made_up.write_paper(tmp_path)
    cells = cells_beside(tmp_path, "paper")
    assert len(cells) == 144
    assert max(abs(cell["difference"]) for cell in cells) <= 0.5e-4  # 1/8000 is finer than the paper's digits
    assert max(abs(cell["difference"]) for cell in cells if cell["data"] == "cifar10") == 0
    assert not any(cell["outside"] for cell in cells)
    groups = groups_of(tmp_path)
    total = texts(tables(references.section(groups, "paper"))["against-paper"])[-1]
    assert (total[0], total[2], total[3], total[-1]) == ("all", "144", "144", "0")
    found = coverage(groups, load("paper"))
    assert (found.same, found.other, found.refused) == (144, 0, Counter())
    found = coverage(groups, load("openclip"))
    assert (found.same, found.other) == (0, 0)  # made-up class names are not the suite's
    assert found.refused == {
        "the class names are not those of open_clip's results": 72,
        "open_clip's results has no such data set and split": 72,
    }


def test_runs_changed_by_known_amounts_show_exactly_these(tmp_path):
    changes = {("RN50", "jpeg-50"): -300, ("ViT-B-16", "original"): 20, ("RN50x4", "jpeg-25"): -90}
    for encoder in ("RN50", "ViT-B-16", "RN50x4"):
        counts, images = made_up.paper_counts("cifar10", "test", encoder)
        counts = {view: count + changes.get((encoder, view), 0) for view, count in counts.items()}
        write(tmp_path, counts, images, encoder=encoder)
    found = {
        (cell["encoder"], cell["view"]): (round(cell["difference"], 9), cell["outside"])
        for cell in cells_beside(tmp_path, "paper")
        if not cell["equal"]
    }
    assert found == {  # 95% is about 0.0098 at 0.49 and 10,000 images, 0.0059 at 0.9, 0.0093 at 0.35
        ("RN50", "jpeg-50"): (-0.03, 1),
        ("ViT-B-16", "original"): (0.002, 0),
        ("RN50x4", "jpeg-25"): (-0.009, 0),
    }
    (group,) = groups_of(tmp_path)
    shown = tables(references.section([group], "paper"))
    (row,) = texts(shown["against-paper"])
    title = "cifar10/test, 10000 images (Figure 1)"
    assert row == (title, "the same experiment", "12", "9", "0.00342", "0.03000", "RN50, jpeg-50", "1")
    assert texts(shown["against-paper-cells"])[0][-2:] == ("−0.0300", "the same experiment")
    table = tables(precision.section(group, Choices(against=("paper", "cifar10-c"))))["precision"]
    rows = lay_out(table).rows
    marked = [(row[0].text, place, cell.details[1]) for row in rows for place, cell in enumerate(row) if cell.marked]
    assert marked == [("RN50", 3, "paper 0.4689, −0.0300")]
    compared = table.frame
    assert compared.columns[-4:].tolist() == ["paper", "paper_difference", "paper_outside", "results"]


@pytest.mark.parametrize(
    ("change", "images", "reason"),
    [
        ({"encoder": "ViT-H-14"}, 10_000, "the paper has no such encoder"),
        ({}, 1000, "1000 images, the paper has 10000"),
        ({"model": {"templates": ["{}"]}}, 10_000, f'the prompt "{{}}", the paper has the prompt "{TEMPLATE}"'),
    ],
)
def test_other_experiments_are_not_compared_and_the_reason_is_given(tmp_path, change, images, reason):
    write(tmp_path, {"original": images // 2, "jpeg-75": images // 3}, images, **change)
    (group,) = groups_of(tmp_path)
    assert "paper" not in references.with_published(group, ["paper"])
    section = references.section([group], "paper")
    assert "No measurement is comparable with one of its figures." in section.blocks
    assert list(terms(section).values()) == [reason]


def test_views_that_the_paper_has_not_stand_alone(tmp_path):
    counts, images = made_up.paper_counts("cifar10", "test", "RN50")
    write(tmp_path, {**counts, "webp-50": 5000}, images, encoder="RN50-quickgelu")
    frame = references.with_published(groups_of(tmp_path)[0], ["paper"])
    compared = dict(zip(frame["view"], frame["paper"].notna(), strict=True))
    assert compared == {**dict.fromkeys(counts, True), "webp-50": False}


def test_the_papers_own_figures_are_within_the_bar_of_the_suites_and_never_called_the_same(tmp_path):
    paper = load("paper")
    for row in paper.rows:
        for table in (paper.tables[0], paper.tables[1]):
            figures = paper.figures(row, table)
            names = {"class_names": NAMES_OF[table.data]}
            made_up.write_run(tmp_path / f"{row.encoder}-{table.data}", made_up.record_of_figures(figures, **names))
    groups = groups_of(tmp_path)
    rows = texts(tables(references.section(groups, "openclip"))["against-openclip"])
    assert [(row[2], row[-2], row[-1]) for row in rows] == [
        ("9", "−0.0269 to 0.0000", "0"),
        ("9", "−0.0056 to +0.0060", "0"),
    ]
    assert all(
        row[1] == f'the prompt "{TEMPLATE}" instead of {n} prompts' for row, n in zip(rows, (18, 2), strict=True)
    )
    frame = references.with_published(groups[0], ["openclip"])
    assert "openclip" not in frame
    assert frame["openclip_other"].notna().sum() == 9
    made_up.write_run(
        tmp_path / "worse" / "run",
        made_up.record_of_figures(
            paper.figures(paper.rows[0], paper.tables[0]), {"original": -300}, class_names=NAMES_OF["cifar10"]
        ),
    )
    (row,) = texts(tables(references.section(groups_of(tmp_path / "worse"), "openclip"))["against-openclip"])
    assert row[-1] == "1"


def test_a_run_at_every_severity_stands_beside_the_published_models(tmp_path):
    """The severities of CIFAR-10-C by their qualities; the mean of 0.05, 0.1, ... 0.25 is 0.15, clean it is 0.02."""
    counts = {"original": 9800, "jpeg-80": 9500, "jpeg-65": 9000, "jpeg-58": 8500, "jpeg-50": 8000, "jpeg-40": 7500}
    write(tmp_path, counts, 10_000)
    groups = groups_of(tmp_path)
    (table,) = tables(references.section(groups, "cifar10-c")).values()
    (row,) = (row for row in table.frame.to_dict("records") if row["by"] == "measured here")
    assert (row["mean"], row["relative"]) == pytest.approx((0.15, 0.13))
    source = load("cifar10-c")
    assert row["better"] == sum(np.mean(one.values) > 0.85 for one in source.rows)
    assert len(table.frame) == 24
    assert coverage(groups, source).beside == 1
    assert terms(references.section(groups, "cifar10-c")) == {}
    assert list(terms(references.section(groups, "cifar100-c")).values()) == [
        "RobustBench's CIFAR-100-C has no such data set and split"
    ]


@pytest.mark.parametrize(
    ("chain", "last", "reason"),
    [
        ("", 5, "the severities have another geometry than RobustBench's ImageNet-C: measure resize-256+crop-224+"),
        ("resize-256+crop-224+", 5, "the severities have another geometry than RobustBench's ImageNet-C"),
        (
            "resize-256+crop-224+",
            4,
            "not all severities were measured, from resize-256+crop-224+imagenetc-jpeg-1+jpeg-85",
        ),
    ],
)
def test_severities_of_another_geometry_are_refused_with_the_view_that_is_meant(tmp_path, chain, last, reason):
    figure = replace(next(load("imagenet-c").all_figures()), images=50_000, encoder="ViT-B-32")
    views = [f"{chain}imagenetc-jpeg-{severity}" for severity in range(1, last + 1)]
    record = made_up.record_of_figures([replace(figure, view=view) for view in views])
    made_up.write_run(tmp_path / "run", record)
    section = references.section(groups_of(tmp_path), "imagenet-c")
    assert tables(section) == {}
    assert next(iter(terms(section).values())).startswith(reason)


@pytest.mark.parametrize(("name", "ending"), [("imagenet-c", "+jpeg-85-optimise"), ("imagenet-testbed", "")])
def test_a_model_with_alexnets_errors_has_a_corruption_error_of_one(tmp_path, name, ending):
    source, frame = load(name), "resize-256+crop-224"
    values = {frame: 1 - source.alexnet.clean_error}
    values |= {f"{frame}+imagenetc-jpeg-{n}{ending}": 1 - source.alexnet.error for n in range(1, 6)}
    figure = replace(next(source.all_figures()), images=50_000)
    record = made_up.record_of_figures([replace(figure, view=view, value=value) for view, value in values.items()])
    made_up.write_run(tmp_path / "run", replace(record, model=replace(record.model, encoder="ViT-B-32")))
    section = references.section(groups_of(tmp_path), name)
    (table,) = tables(section).values()
    (row,) = (row for row in table.frame.to_dict("records") if row["by"] == "measured here")
    assert (row["ce"], row["relative_ce"]) == pytest.approx((1, 1), abs=1e-3)
    assert "mCE is the mean over fifteen" in table.note


def write_attributions(folder, lines, change=0.0):
    """A run that explained images with the labels, predictions and sums of a printed table, plus a change."""
    predictions = made_up.nested({view: 5 for view in ("original", "jpeg-100", *VIEWS[1:])}, 10)
    record = made_up.run_record(
        predictions, encoder=lines[0].encoder, data=lines[0].data,
        model={"mean": [0.0, 0.0, 0.0], "templates": ["This is a image of a {}."]},
    )  # fmt: skip
    released = {"baseline": "jpeg-100", "rule": {"name": "Trapezoid", "n": 50}}
    file = made_up.write_run(folder, replace(record, attribution=released)).parent / "attributions" / "table.csv"
    file.parent.mkdir()
    heads = [f"{name}/{view}" for view in VIEWS[1:] for name in ("ig", "residual", "predicted")]
    rows = [
        [place, line.label, *(cell for ig, said in zip(line.ig, line.predicted[1:], strict=True)
                              for cell in (ig + change, 1e-4, said))]
        for place, line in enumerate(lines)
    ]  # fmt: skip
    file.write_text("\n".join(",".join(map(str, row)) for row in [["index", "label", *heads], *rows]))
    return file


def test_all_44_printed_attributions_equal_to_runs_show_no_difference_and_changed_ones_do(tmp_path):
    printed = [[line for line in printed_attributions() if line.where == f"Table {n}"] for n in range(1, 7)]
    for number, lines in enumerate(printed):
        write_attributions(tmp_path / "equal" / str(number), lines)
        write_attributions(tmp_path / "changed" / str(number), lines, 0.5)
    shown = tables(references.section(groups_of(tmp_path / "equal"), "paper"))
    found = shown["against-paper-attribution-lines"].frame
    assert len(found.drop_duplicates(["where", "line"])) == 44
    assert len(found) == 132
    assert found["difference"].abs().max() < 1e-12
    assert found["same_sign"].all()
    assert found["same_prediction"].all()
    summary = shown["against-paper-attributions"].frame
    assert summary["size"].tolist() == pytest.approx([1] * 18)
    assert set(summary["settings"]) == {"as released"}
    assert summary["measured_residual"].tolist() == pytest.approx([1e-4] * 18)
    assert (summary["printed_residual"].dropna() < 0.05).all()
    changed = tables(references.section(groups_of(tmp_path / "changed"), "paper"))["against-paper-attribution-lines"]
    assert changed.frame["difference"].to_numpy() == pytest.approx(np.full(132, 0.5))
    expected = sum(-0.5 < ig < 0 for line in printed_attributions() for ig in line.ig)
    assert (changed.frame["same_sign"] == 0).sum() == expected


def test_attributions_of_other_labels_weights_and_settings_are_told_apart(tmp_path):
    lines = [line for line in printed_attributions() if line.where == "Table 3"]
    write_attributions(tmp_path / "turned", lines[::-1])
    assert compare_attributions("RN50", load_run(tmp_path / "turned")).empty
    file = write_attributions(tmp_path / "own", lines)
    run = load_run(tmp_path / "own")
    for record, differs in (
        (run.record, ""),
        (
            replace(run.record, attribution={"baseline": "original", "rule": {"name": "Trapezoid", "n": 50}}),
            "another baseline",
        ),
        (replace(run.record, model=replace(run.record.model, further={})), "another mean"),
    ):
        assert set(compare_attributions("RN50", replace(run, record=record))["settings"]) == {differs}
    other = replace(run.record, model=replace(run.record.model, pretrained="laion2b"))
    assert compare_attributions("RN50", replace(run, record=other)).empty
    file.write_text("nothing of a table")
    assert compare_attributions("RN50", run).empty


def test_the_command_counts_what_runs_can_be_checked_against(tmp_path, capsys):
    main([])
    every = capsys.readouterr().out
    assert all(f"\n{name}: " in f"\n{every}" for name in NAMES)
    assert "openclip: 472 figures of 118 models" in every
    counts, images = made_up.paper_counts("cifar10", "test", "RN50")
    write(tmp_path, {**counts, "webp-50": 5000}, images, class_names=list(NAMES_OF["cifar10"]))
    main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "5 cells of 1 result files, 0 files not used"
    assert "paper: 4 cells of the same experiment" in lines
    assert "  not so 1 cells: no figure for the view" in lines
    assert f'openclip: 1 of another (the prompt "{TEMPLATE}" instead of 18 prompts)' in lines
    place = lines.index("cifar10-c: nothing")
    assert (
        lines[place + 1]
        == "  not so 5 cells: not all severities were measured, from cifar10c-jpeg-1 to cifar10c-jpeg-5"
    )
    printed = [line for line in printed_attributions() if line.where == "Table 3"]
    write_attributions(tmp_path / "explained", printed)
    main([str(tmp_path)])
    assert "10 of the 44 printed attributions" in capsys.readouterr().out
