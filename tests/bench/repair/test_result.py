"""What a repair says in the end, of made-up fits and tests, against counting by hand."""

from pathlib import Path

import pytest

from bench.repair.result import result
from bench.runs.finetuning_record import Export, Training, TrainingViews
from tests.support.made_up import fit_record, nested, run_record, write_run
from tests.support.reports import choices, groups_of

IMAGES = 200
VIEWS = {"original": 160, "jpeg-25": 100, "webp-25": 160}


@pytest.fixture
def runs(tmp_path):
    """Writes tests of the original and of weights by arm, whose images right on jpeg-25 are given, and their fits."""

    def write(name, digest, right, clean=VIEWS["original"], **model):
        predictions = nested({**VIEWS, "original": clean, "jpeg-25": right}, IMAGES)
        model = {"weights_sha256": digest, "pretrained": f"{digest}.safetensors", **model}
        write_run(tmp_path / "tests" / name, run_record(predictions, model=model), predictions)

    def runs(label_free=False, clean=VIEWS["original"], split="train", **arms):
        write("original", "hash of RN50", 100)
        write("with other prompts", "hash of RN50", 90, templates=["A {}"])
        for arm, right in arms.items():
            write(arm, arm, right, clean)
            (tmp_path / "fits" / arm).mkdir(parents=True)
            views = TrainingViews({"jpeg-{}": (10, 95)}, "Uniform", float(arm == "control"), 0.0)
            fit_record(
                method={"objective": {"name": "A", "label_free": label_free}, "trainable": {"name": "WholeTower"}},
                training=Training(views, 1, 3, 8, 1, "32-true"),
                data=run_record(nested({"original": 20}, 20), split=split).data,
                validation_every=10,
                exports=(Export(1.0, True, "encoder.safetensors", arm),),
            ).write(tmp_path / "fits" / arm)
        (group,) = groups_of(tmp_path)
        return result(group, choices(tmp_path).fits, [Path("fits/seed-0/tuned/encoder.safetensors")])

    return runs


def row(lines, name):
    [found] = [line for line in lines if line.startswith(name)]
    return found.removeprefix(name).split("  ")


def cells(lines, name):
    return [cell.strip() for cell in row(lines, name) if cell.strip()]


def test_precisions_and_shares_are_those_worked_by_hand(runs):
    lines = runs(tuned=130, control=106)  # of 60 lost: 30 and 6
    assert lines[0].split() == ["original", "jpeg-25", "webp-25"]
    assert cells(lines, "before") == ["0.8000", "0.5000", "0.8000"]
    assert cells(lines, "after") == ["0.8000", "0.6500", "0.8000"]
    assert cells(lines, "the control after") == ["0.8000", "0.5300", "0.8000"]
    assert cells(lines, "share of the drop") == ["0.50", "-"]
    assert cells(lines, "beyond the control") == ["0.40", "-"]
    assert cells(lines, "drawn by the fit") == ["yes", "no"]
    assert "precision on 200 images that were not fitted to" in lines[-2]


def test_the_last_line_says_where_the_weights_are_and_what_they_do_to_the_worst_view(runs):
    last = runs(tuned=130, control=106)[-1]
    assert last.startswith(
        "weights: fits/seed-0/tuned/encoder.safetensors; jpeg-25: 0.5000 before, 0.6500 after, 0.50 of"
    )
    assert ", 0.40 beyond the control (0." in last


def test_without_labels_nothing_is_subtracted(runs):
    lines = runs(label_free=True, tuned=130)
    assert not any("control" in line for line in lines)
    assert (
        lines[-1].partition("; ")[2].startswith("jpeg-25: 0.5000 before, 0.6500 after, 0.50 of the drop recovered (0.")
    )


def test_a_fit_that_does_harm_is_said_to_recover_less_than_nothing(runs):
    last = runs(tuned=94, control=70)[-1]
    assert "0.5000 before, 0.4700 after, -0.10 of the drop recovered" in last
    assert ", 0.40 beyond the control" in last


def test_images_that_were_fitted_to_are_not_said_to_be_others(runs):
    assert "precision on 200 images SOME OR ALL OF WHICH WERE FITTED TO; " in runs(split="test", tuned=130)[-2]


def test_what_the_originals_lose_beyond_chance_is_said(runs):
    lines = runs(clean=140, tuned=130)
    [line] = [line for line in lines if line.startswith("originals: ")]
    assert line.startswith("originals: -10.00 points (-")
    assert line.endswith("of precision; a lower --fits.model.learning_rate changes them less")


def test_nothing_is_said_of_originals_that_lose_nothing(runs):
    assert not any(line.startswith("originals: ") for line in runs(clean=160, tuned=130))


def test_tests_of_something_else_are_no_result(runs):
    with pytest.raises(ValueError, match="these are not the tests of one encoder"):
        runs()
