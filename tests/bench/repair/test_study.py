from pathlib import Path

import pytest

from bench.command_line.yaml_text import read_yaml
from bench.repair.study import plan
from bench.sweep.grid import read_sweep
from datamodules.errors import UserError


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """The plan of a repair and its cells by name, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def cells(config, fit=None, seeds=1, **options):
        typed = {key.replace("__", "."): value for key, value in options.items()}
        repair = plan(config, fit, typed, seeds, Path("out"))
        return repair, {cell.name: cell for cell in read_sweep(repair.write(Path("out")), None, {})}

    return cells


def test_the_demo_is_a_fit_without_labels_and_tests_before_and_after(cells):
    repair, found = cells("demo")
    assert list(found) == ["fits/seed-0/tuned", "tests/original", "tests/seed-0/tuned/share-1"]
    fit, before, after = (cell.expected() for cell in found.values())
    assert fit["model"]["init_args"]["objective"]["class_path"] == "bench.finetuning.Consistency"
    assert fit["data"]["init_args"]["limit"] == 6000
    assert (before["data"]["init_args"]["split"], before["data"]["init_args"]["limit"]) == ("test", 1000)
    assert before["model"] == after["model"]
    assert repair.sentences[0].startswith("demo_finetune of demo-rn: 5 epochs, 1 seed, learning rate 0.002")
    assert repair.sentences[-1].startswith("control: the encoder before the fit")


@pytest.mark.parametrize(
    ("fit", "options"),
    [
        ("finetune/augment", {}),
        ("finetune/consistency", {"fits__model__weight_decay": 0.01}),
        ("finetune/consistency", {"fits__model__objective": "bench.finetuning.Augment"}),
    ],
)
def test_what_learns_without_compression_has_a_control_that_differs_in_nothing_else(cells, fit, options):
    repair, found = cells("demo", fit, **options)
    assert list(found) == [
        "fits/seed-0/tuned", "fits/seed-0/control",
        "tests/original", "tests/seed-0/tuned/share-1", "tests/seed-0/control/share-1",
    ]  # fmt: skip
    tuned, control = (cell.expected() for cell in found.values() if cell.command == "fit")
    drawn = [one["data"]["init_args"]["training_views"].pop("clean") for one in (tuned, control)]
    assert drawn[0] < drawn[1] == 1.0
    written = [one["trainer"]["callbacks"][-1]["init_args"].pop("name") for one in (tuned, control)]
    assert written[1] == f"{written[0]}-control"
    assert tuned == control
    assert "whose gain is subtracted" in repair.sentences[-1]


@pytest.mark.parametrize("fit", ["consistency", "distillation", "linear", "tokens", "restoration", "conditioned"])
def test_what_learns_nothing_without_compression_has_none(cells, fit):
    _, found = cells("demo", f"finetune/{fit}")
    assert [name for name, cell in found.items() if cell.command == "fit"] == ["fits/seed-0/tuned"]


def test_an_objective_that_is_none_is_refused(cells):
    with pytest.raises(UserError, match="the objective cannot be built"):
        cells("demo", fits__model__objective="bench.finetuning.Nothing")


def test_another_method_and_more_seeds_are_an_option_each(cells):
    _, found = cells("demo", "finetune/augment", seeds=2)
    fits = [cell.expected() for cell in found.values() if cell.command == "fit"]
    assert [fit["seed_everything"] for fit in fits] == [0, 0, 1, 1]
    assert {fit["model"]["init_args"]["objective"]["class_path"] for fit in fits} == {"bench.finetuning.Augment"}
    assert len(found) == 4 + 1 + 4


def test_a_folder_of_ones_own_is_fitted_with_the_methods_settings_and_tested_with_its_own_views(cells, folder):
    root = folder(cat=30, dog=30)
    options = {
        "model__encoder": "RN50",
        "data__root": str(root),
        "fits__data__batch_size": 8,
        "tests__data__patience": 9,
    }
    _, found = cells("image_folder", **options)
    fit, before, *_ = (cell.expected() for cell in found.values())
    data, tested = fit["data"]["init_args"], before["data"]["init_args"]
    assert fit["data"]["class_path"] == "datamodules.ImageFolder"
    assert data["root"] == tested["root"] == str(root)
    assert (data["batch_size"], tested["batch_size"], tested["patience"]) == (8, 64, 9)
    assert data["degradations"] == ["original", "jpeg-75", "jpeg-50", "jpeg-25"]
    assert "webp-{90,75,50,25}" in tested["degradations"]
    assert (tested["every"], data.get("every", 1)) == (10, 1)
    assert fit["model"]["init_args"]["encoder"] == before["model"]["init_args"]["encoder"] == "RN50"


@pytest.mark.parametrize(
    ("options", "fit", "epochs", "said"),
    [
        ({}, None, 29, "29 epochs instead of 3"),  # 7 steps each
        ({"data__batch_size": 4}, None, 15, "15 epochs instead of 3"),
        ({"fits__trainer__max_epochs": 2}, None, 2, ": 2 epochs"),
        ({"trainer__max_epochs": 2}, None, 2, ": 2 epochs"),
        ({}, "finetune/linear", 3, ": 3 epochs"),
    ],
)
def test_few_images_are_seen_more_often_unless_epochs_are_asked_for(cells, folder, options, fit, epochs, said):
    options = {"fits__data__batch_size": 8, "data__root": str(folder(cat=30, dog=30)), **options}
    if "data__batch_size" in options:
        del options["fits__data__batch_size"]
    repair, found = cells("image_folder", fit, **options)
    assert found["fits/seed-0/tuned"].expected()["trainer"]["max_epochs"] == epochs
    assert said in " ".join(repair.sentences)


def test_what_is_written_is_a_study_that_a_sweep_takes(cells, tmp_path):
    cells("demo")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fit.yaml", "study.yaml", "test.yaml"]
    assert read_yaml(tmp_path / "out/study.yaml")["output"] == "out"


@pytest.mark.parametrize(
    ("config", "fit", "message"),
    [
        ("demo_finetune", None, "is none of `lightning test`"),
        ("paper", None, "names no model and data"),
        ("demo", "paper", "names no model and data"),
        ("tent", None, "'tent' adapts the encoder while it is tested"),
    ],
)
def test_configurations_of_another_kind_are_refused(cells, config, fit, message):
    with pytest.raises(UserError, match=message):
        cells(config, fit)


def test_a_configuration_that_leaves_no_weights_is_no_fit(cells):
    with pytest.raises(UserError, match=r"leaves no weights: give it callbacks\.FineTuningWriter"):
        cells("demo", "demo")


def test_an_option_that_is_not_for_both_is_refused_or_reaches_what_takes_it(cells):
    with pytest.raises(
        UserError, match=r"--model.learning_rate is no option of a test: write --fits.model.learning_rate"
    ):
        cells("demo", model__learning_rate=1e-3)
    with pytest.raises(UserError, match=r"--trainer.callbacks.tabel: no callback of the fit or the test takes it"):
        cells("demo", trainer__callbacks__tabel="parquet")
    _, plain = cells("demo", "finetune/both")
    codecs = {"webp-{}": [10, 95]}
    options = {"trainer__callbacks__table": "parquet", "trainer__callbacks__alphas": [0, 1]}
    _, found = cells("demo", "finetune/both", data__training_views__codecs=codecs, **options)
    views, own = (one["fits/seed-0/tuned"].expected()["data"]["init_args"]["training_views"] for one in (found, plain))
    assert views == {**own, "codecs": codecs}
    test, fit = (found[name].expected() for name in ("tests/original", "fits/seed-0/tuned"))
    assert "training_views" not in test["data"]["init_args"]
    assert test["trainer"]["callbacks"][0]["init_args"]["table"] == "parquet"
    assert fit["trainer"]["callbacks"][-1]["init_args"]["alphas"] == [0, 1]
