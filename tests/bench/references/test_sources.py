"""The published figures: complete, equal to what they were taken from, and consistent with what can be checked."""

import hashlib
import json
import math
import subprocess
import sys

import pytest

from bench.paper import ENCODERS, VIEWS, canonical_encoder
from bench.references.attributions import find_attributions, printed_attributions
from bench.references.corruption import published_errors, severities
from bench.references.names import NAMES, require_names
from bench.references.sources import load
from datamodules.degradations import parse
from datamodules.errors import UserError
from datamodules.imagenet import class_names
from datamodules.stl10 import CLASSES

FIGURES = {
    "paper": (9, 144),
    "openclip": (118, 472),  # 121 lines, of which three name the same encoder and weights twice
    "cifar10-c": (23, 115),
    "cifar100-c": (13, 65),
    "imagenet-c": (12, 60),
    "imagenet-testbed": (163, 978),  # 37 of 200 repeat the clean figure at severity 1
}


def test_every_source_is_there_whole():
    assert set(FIGURES) == set(NAMES)
    assert {name: (len(load(name).rows), len(list(load(name).all_figures()))) for name in NAMES} == FIGURES


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_what_it_is_of(name):
    source = load(name)
    assert source.citation
    assert source.location
    for figure in source.all_figures():
        assert figure.source == name
        assert all((figure.where, figure.encoder, figure.weights, figure.data, figure.split))
        assert 0 < figure.value < 1
        assert round(figure.value, figure.decimals) == figure.value
        assert parse(figure.view).name == figure.view
        assert figure.images in (5_000, 8_000, 10_000, 50_000)
    models = [(row.encoder, row.weights, row.activation) for row in source.rows]
    assert len(set(models)) == len(models)


def test_the_papers_figures_equal_its_transcription(shared):
    transcribed = json.loads((shared / "paper" / "published.json").read_text())
    paper = load("paper")
    printed = {
        f"{table.data}/{table.splits[0]}": {
            "where": table.where,
            "rows": {row.encoder: [figure.value for figure in paper.figures(row, table)] for row in paper.rows},
        }
        for table in paper.tables
    }
    assert printed == {
        name: {"where": table["where"], "rows": table["rows"]} for name, table in transcribed["precision"].items()
    }
    lines = [
        (where, table["encoder"], table["dataset"], *(row[key] for key in ("label", "predicted", "score", "ig")))
        for where, table in transcribed["integrated_gradients"].items()
        for row in table["rows"]
    ]
    assert [
        (one.where, one.encoder, one.data, one.label, *map(list, (one.predicted, one.score, one.ig)))
        for one in printed_attributions()
    ] == lines


def test_clean_and_corrupted_figures_equal_the_files_they_were_taken_from(shared):
    clean = json.loads((shared / "references" / "clean_open_clip.json").read_text())
    columns = ("CIFAR-10", "STL-10", "CIFAR-100", "ImageNet 1k")
    expected = {
        (canonical_encoder(row["model"]), row["pretrained"], *(row[name] for name in columns)) for row in clean["rows"]
    }
    assert {(row.encoder, row.weights, *row.values) for row in load("openclip").rows} == expected
    corrupted = json.loads((shared / "references" / "jpeg_c.json").read_text())["sources"]
    for name, taken in zip(("cifar10-c", "cifar100-c", "imagenet-c"), corrupted, strict=False):
        rows = {row.encoder: pytest.approx(row.values) for row in load(name).rows}
        assert {canonical_encoder(model): values for model, values in taken["rows"].items()} == rows
    testbed = {canonical_encoder(model): values for model, *values in corrupted[3]["rows"]}
    taken = {
        model: pytest.approx([value / 100 for value in (clean_value, *both[::2])], abs=1e-6)
        for model, (clean_value, *both) in testbed.items()
        if clean_value != both[0] and (abs(clean_value - both[0]) > 0.5 or both[0] - both[2] < 1)
    }
    assert {row.encoder: row.values for row in load("imagenet-testbed").rows} == taken


def test_figure_6_has_multiples_of_one_image_so_precision_is_micro_averaged():
    found = [figure.value for figure in load("paper").all_figures() if figure.where == "Figure 6"]
    assert len(found) == 36
    assert all(math.isclose(value * 5000, round(value * 5000), abs_tol=1e-9) for value in found)


def test_the_paper_has_its_encoders_figures_and_44_attributions():
    paper = load("paper")
    assert tuple(row.encoder for row in paper.rows) == ENCODERS
    assert {table.where for table in paper.tables} == {"Figure 1", "Figure 2", "Figure 5", "Figure 6"}
    assert all(table.views == VIEWS for table in paper.tables)
    lines = printed_attributions()
    assert [sum(line.where == f"Table {n}" for line in lines) for n in range(1, 7)] == [2, 2, 10, 10, 10, 10]
    assert all((len(one.predicted), len(one.score), len(one.ig)) == (4, 4, 3) for one in lines)


def test_attributions_are_complete_except_in_the_line_marked_as_a_misprint():
    """IG = ln(p_original / p_degraded) where the printed scores have two significant digits or more."""
    residuals = {}
    for number, line in enumerate(printed_attributions()):
        for view, total in enumerate(line.ig, 1):
            if min(line.score[0], line.score[view]) >= 0.001:
                residuals[number, view] = abs(total - math.log(line.score[0] / line.score[view]))
                assert line.misprint or line.residual(view - 1) == pytest.approx(residuals[number, view])
    outliers = {number for (number, _), residual in residuals.items() if residual > 0.3}
    assert [printed_attributions()[number].misprint != "" for number in outliers] == [True]
    assert sum(line.misprint != "" for line in printed_attributions()) == 1
    assert sorted(residuals.values())[len(residuals) // 2] == pytest.approx(0.005, abs=0.001)


def test_what_is_not_printed_is_not_found():
    assert load("paper").models("ViT-H-14") == []
    assert find_attributions("RN101", "cifar10") == ()
    assert len(find_attributions("ViT-B/32", "stl10")) == 10


def test_an_encoder_printed_with_two_activations_has_two_rows_and_the_right_one_is_not_worse_on_imagenet():
    """The weights of all of them were trained with QuickGELU, as open_clip's own tags say today."""
    from open_clip.pretrained import get_pretrained_cfg

    twofold = [row for row in load("openclip").rows if row.activation]
    pairs = {(row.encoder, row.weights) for row in twofold}
    assert len(twofold) == 2 * len(pairs) == 10
    for encoder, weights in pairs:
        quick, gelu = sorted((row for row in twofold if (row.encoder, row.weights) == (encoder, weights)),
                             key=lambda row: row.activation, reverse=True)  # fmt: skip
        assert get_pretrained_cfg(encoder, weights)["quick_gelu"] is True
        assert quick.values[3] > gelu.values[3]


def test_class_names_and_prompts_of_imagenet_are_those_that_the_data_set_brings():
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    tables = {table.data: table for table in load("openclip").tables}
    digests = {data: hashlib.sha256("\n".join(names).encode()).hexdigest() for data, names in (
        ("imagenet", class_names().values()), ("stl10", CLASSES))}  # fmt: skip
    assert {data: tables[data].class_names for data in digests} == digests
    assert tables["imagenet"].templates == tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
    assert [len(tables[data].templates) for data in ("cifar10", "stl10", "cifar100")] == [18, 2, 18]


@pytest.mark.parametrize("name", ["imagenet-c", "imagenet-testbed"])
def test_alexnets_errors_agree_with_its_own_row(name):
    """The reference of mCE is of 50,000 images, RobustBench's row likely of 5,000: the tolerance says so."""
    source = load(name)
    errors = published_errors(source, severities(source))
    alexnet = next(value for model, value in errors.items() if model.lower() == "alexnet")
    assert alexnet.over(source.alexnet) == pytest.approx(1, abs=0.015 if name == "imagenet-c" else 1e-5)
    assert alexnet.clean is None or alexnet.relative_over(source.alexnet) == pytest.approx(1, abs=1e-4)


def test_an_unknown_source_is_refused_with_the_likely_one():
    with pytest.raises(UserError, match=r"^'opencilp' is no source .*: did you mean openclip\?; choose"):
        require_names(["paper", "opencilp"])


def test_published_figures_cost_no_torch():
    program = (
        "import sys; from bench.references.sources import load; load('openclip');"
        "print(sorted({'torch', 'lightning', 'open_clip', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
