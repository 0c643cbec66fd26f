"""`--against paper` on runs made up from the paper's own numbers."""

import pytest

from bench.report.comparison import against_section, incomparable
from bench.report.groups import group_runs
from bench.report.runs import read_runs
from bench.report.sections.precision import precision_section
from tests.support import made_up


def groups_of(folder):
    return group_runs(read_runs([folder])[0])[0]


def cells_of(groups):
    return [row for one in groups for row in precision_section(one, against_paper=True).data["cells.csv"]]


def texts(section):
    return [tuple(cell.text for cell in row) for row in section.blocks[0].rows]


def test_runs_equal_to_the_paper_show_no_difference(tmp_path):
    made_up.write_paper(tmp_path)
    groups = groups_of(tmp_path)
    cells = cells_of(groups)
    assert len(cells) == 144
    assert max(abs(cell["difference"]) for cell in cells) <= 0.5e-4  # 1/8000 is finer than the paper's digits
    assert max(abs(cell["difference"]) for cell in cells if cell["data"] == "cifar10") == 0
    assert not any(cell["published_outside_interval"] for cell in cells)
    total = texts(against_section(groups))[-1]
    assert (total[0], total[1], total[2], total[-1]) == ("all", "144", "144", "0")


def test_runs_changed_by_known_amounts_show_exactly_these(tmp_path):
    changes = {("RN50", "jpeg-50"): -300, ("ViT-B-16", "original"): 20, ("RN50x4", "jpeg-25"): -90}

    def change(data, split, encoder, counts):
        if (data, split) != ("cifar10", "test"):
            return counts
        return {view: count + changes.get((encoder, view), 0) for view, count in counts.items()}

    made_up.write_paper(tmp_path, change=change)
    groups = groups_of(tmp_path)
    found = {
        (cell["encoder"], cell["view"]): (round(cell["difference"], 9), cell["published_outside_interval"])
        for cell in cells_of(groups)
        if abs(cell["difference"]) > 0.5e-4
    }
    assert found == {  # 95% is about 0.0098 at 0.49 and 10,000 images, 0.0059 at 0.9, 0.0093 at 0.35
        ("RN50", "jpeg-50"): (-0.03, 1),
        ("ViT-B-16", "original"): (0.002, 0),
        ("RN50x4", "jpeg-25"): (-0.009, 0),
    }
    row = texts(against_section(groups))[0]
    assert row == ("cifar10/test, 10000 images (Figure 1)", "36", "33", "0.00114", "0.03000", "RN50, jpeg-50", "1")
    marked = [
        (row[0].text, column)
        for row in precision_section(groups[0], against_paper=True).blocks[1].rows
        for column, cell in enumerate(row)
        if cell.marked
    ]
    assert marked == [("RN50", 3)]


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
    predictions = made_up.nested({"original": images // 2, "jpeg-75": images // 3}, images)
    made_up.write(tmp_path / "run", made_up.record(predictions, **change))
    groups = groups_of(tmp_path)
    assert incomparable(groups[0], groups[0].entries[0]) == reason
    assert not any("published" in cell for cell in cells_of(groups))
    blocks = against_section(groups).blocks
    assert blocks[0].text == "No measurement is comparable with one of the paper."
    assert [why for _, why in blocks[-1].items] == [reason]


def test_views_that_the_paper_has_not_stand_alone(tmp_path):
    counts, images = made_up.paper_counts("cifar10", "test", "RN50")
    predictions = made_up.nested({**counts, "webp-50": 5000}, images)
    made_up.write(tmp_path / "run", made_up.record(predictions, encoder="RN50-quickgelu"))
    compared = {cell["view"]: "published" in cell for cell in cells_of(groups_of(tmp_path))}
    assert compared == {**dict.fromkeys(counts, True), "webp-50": False}
