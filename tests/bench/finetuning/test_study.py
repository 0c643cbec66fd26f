"""The robustness study: what its files stand for, and a part of it on a few random images, from fits to report."""

from collections import Counter
from copy import deepcopy

import pytest
import yaml

from bench.cli import main
from bench.report.command import main as report
from bench.sweep.attempts import State, state
from bench.sweep.grid import read_sweep
from tests.support.archives import write_cifar10
from tests.support.made_up import fit_record

BESIDE = ["restoration-encoder", "restoration"]
METHODS = {
    "robustness_study": ["linear", "consistency", "augment", "both", "tokens", "norms", "lora"],
    "robustness_study_small": [
        *("linear", "consistency", "long", "norms", "frequency", "tokens", "curriculum"),
        *("conditioned", "conditioned-long", "lora"),
        *BESIDE,
        "augment",
        "both",
    ],
}
SPECIALISTS = {
    "robustness_study": ["only-jpeg-25", "only-jpeg-10", "only-jpeg-25-twice"],
    "robustness_study_small": ["only-jpeg-25", "only-jpeg-25-long"],
}
BETWEEN = {
    "robustness_study": (["augment", "both"], "share-0.5"),
    "robustness_study_small": (["consistency", "long", "augment"], "share-0.75"),
}
QUICK = [
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.num_workers", "0"),
    *("--data.download", "false", "--data.verify_checksums", "false", "--data.limit", "20"),
]


@pytest.fixture(params=list(METHODS))
def name(request):
    return request.param


@pytest.fixture
def cells(repository, monkeypatch, name):
    monkeypatch.chdir(repository)
    return read_sweep(repository / f"configs/{name}.yaml", None, {})


def test_a_study_is_a_file_of_at_most_forty_lines(repository, name):
    assert len((repository / f"configs/{name}.yaml").read_text().splitlines()) <= 40


def test_every_method_and_specialist_is_fitted_with_three_seeds(cells, name):
    fits = [tuple(cell.labels.values()) for cell in cells if cell.step == "fits" and cell.labels["arm"] == "tuned"]
    methods = METHODS[name] + SPECIALISTS[name]
    assert fits == [(f"seed-{seed}", method, "tuned") for seed in range(3) for method in methods]


def test_the_original_and_all_weights_of_the_fits_are_tested(cells, name):
    tests = [cell for cell in cells if cell.step == "tests"]
    fits, soups = ([cell for cell in cells if cell.step == step] for step in ("fits", "soups"))
    sets = ["cifar10", "stl10"] if name == "robustness_study" else [None]
    methods, share = BETWEEN[name]
    for images in sets:
        measured = [cell for cell in tests if cell.labels.get("config") == images]
        assert Counter(cell.labels.get("tuned") for cell in measured)["original"] == 1
        whole = [cell.weights[0].fit.name for cell in measured if cell.labels.get("share") == "share-1"]
        assert whole == [cell.name for cell in [*fits, *soups]]
        between = [cell.weights[0].fit.name for cell in measured if cell.labels.get("share") == share]
        assert between == [cell.name for cell in [*fits, *soups] if cell.labels["method"] in methods]


def test_soups_are_of_all_seeds_of_every_method_and_its_control(cells, name):
    soups = {tuple(cell.labels.values()): cell.weights for cell in cells if cell.step == "soups"}
    averaged = {*METHODS[name], *(SPECIALISTS[name] if name == "robustness_study_small" else [])}
    assert {method for _, method, _ in soups} == averaged.difference([*BESIDE, "conditioned", "conditioned-long"])
    for (_, method, arm), members in soups.items():
        assert [weights.fit.name for weights in members] == [f"fits/seed-{seed}/{method}/{arm}" for seed in range(3)]


def test_every_fit_with_labels_has_a_control_that_differs_in_random_views_alone_and_no_other_needs_one(cells):
    budgets = {}
    for cell in (cell for cell in cells if cell.step == "fits"):
        budget = deepcopy(cell.expected())
        model, clean = budget["model"]["init_args"], budget["data"]["init_args"].pop("training_views")["clean"]
        learns_labels = "Augment" in str(model.get("objective"))
        assert learns_labels or not model.get("weight_decay"), f"{cell.name} moves without anything to learn"
        budgets.setdefault(yaml.safe_dump(budget), []).append((learns_labels, clean))
    for fits in budgets.values():
        assert (1.0 in [clean for _, clean in fits]) == any(learns_labels for learns_labels, _ in fits), fits


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fits_then_tests_then_the_report(repository, name, tmp_path, tiny_clip, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(repository / "configs")
    write_cifar10(tmp_path / "data", count=20)
    chosen = ["--only", "seed=0", "--only", "method=augment", "--only", "share=1"]
    chosen += ["--only", "config=cifar10"] if name == "robustness_study" else []
    with pytest.raises(SystemExit) as done:
        main(["sweep", "--config", f"configs/{name}.yaml", *chosen, *tiny_clip, *QUICK, "--fits.trainer.max_epochs=1"])
    printed = capsys.readouterr().out
    assert done.value.code == 0, printed
    assert "5 cells: 5 done now" in printed
    report([f"runs/{name}"])
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Recovered share of the drop beyond the control" in page
    assert "control: clean-only, seeds 0" in page
    assert "not used" not in capsys.readouterr().out


def test_a_fit_is_done_when_its_record_is_there_and_its_options_are_those_asked_for(
    repository, name, tmp_path, tiny_clip, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = dict(zip((key.removeprefix("--") for key in tiny_clip[::2]), tiny_clip[1::2], strict=True))
    options |= {"trainer.max_epochs": 1, "data.limit": 20, "data.verify_checksums": False}
    study = repository / f"configs/{name}.yaml"
    (cell, *_) = read_sweep(study, None, options)
    assert state(cell)[0] is State.OPEN
    cell.folder.mkdir(parents=True)
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(cell.expected()))
    fit_record().write(cell.folder)
    assert state(cell)[0] is State.DONE
    longer = read_sweep(study, None, {**options, "fits.trainer.max_epochs": 2})[0]
    assert state(longer) == (State.FAILED, f"{cell.folder} holds results with another trainer.max_epochs: remove it")
