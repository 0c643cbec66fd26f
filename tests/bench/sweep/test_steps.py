"""Sweeps of several steps: what their files mean, and how a test hangs on the fit whose weights it measures."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from bench.runs import locks
from bench.runs.finetuning_record import Export
from bench.runs.record import RunInfo
from bench.sweep import costs
from bench.sweep.attempts import LOG, CellProcesses, State, state
from bench.sweep.grid import only, read_sweep
from bench.sweep.places import Place
from bench.sweep.runner import run_cells
from datamodules.errors import UserError
from tests.support.made_up import fit_record, nested, run_record

WRITER = {"class_path": "callbacks.FineTuningWriter", "init_args": {"name": "tuned", "export": [0.5]}}
MODEL = {"init_args": {"encoder": "RN50", "pretrained": "openai"}}
FIT = {"model": MODEL, "data": {"init_args": {"limit": None}}, "trainer": {"callbacks": [WRITER], "max_epochs": 1}}
TEST = {"model": {"init_args": {"encoder": "ViT-B/32", "pretrained": "openai"}}, "data": {"init_args": {"limit": None}}}
STEPS = {
    "fits": {
        "command": "fit",
        "options": {"config": "fit.yaml"},
        "grid": {"data.seed": [0, 1], "arm": {"tuned": {}, "control": {"data.training_views.clean": 1}}},
    },
    "tests": {"options": {"config": "test.yaml"}, "grid": {"data.split": ["test"], "of": {"weights_of": "fits"}}},
}


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Reads a sweep with these steps in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"fit": FIT, "test": TEST}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def read(extra=None, output="runs", changes=None, **content):
        parts = {name: {**part, **(changes or {}).get(name, {})} for name, part in STEPS.items()}
        text = yaml.safe_dump({"output": output, "steps": parts, **content}, sort_keys=False)
        Path("sweep.yaml").write_text(text)
        return read_sweep(Path("sweep.yaml"), None, extra or {})

    return read


def test_tests_are_of_the_original_and_of_all_shares_that_the_fits_are_to_leave(steps):
    cells = steps()
    assert [cell.name for cell in cells] == [
        "fits/seed-0/tuned", "fits/seed-0/control", "fits/seed-1/tuned", "fits/seed-1/control",
        "tests/test/original",
        "tests/test/seed-0/tuned/share-1", "tests/test/seed-0/tuned/share-0.5",
        "tests/test/seed-0/control/share-1", "tests/test/seed-0/control/share-0.5",
        "tests/test/seed-1/tuned/share-1", "tests/test/seed-1/tuned/share-0.5",
        "tests/test/seed-1/control/share-1", "tests/test/seed-1/control/share-0.5",
    ]  # fmt: skip
    assert [cell.command for cell in cells] == ["fit"] * 4 + ["test"] * 9
    assert cells[5].folder == Path("runs/tests/test/seed-0/tuned/share-1")
    assert {str(cell.output) for cell in cells} == {"runs"}
    assert [weights.fit for weights in cells[5].weights] == [cells[0]]


def test_tests_measure_the_encoder_that_was_tuned_whatever_their_configuration_names(steps):
    cells = steps({"model.encoder": "RN101"})
    assert {cell.expected()["model"]["init_args"]["encoder"] for cell in cells} == {"RN101"}
    cells = steps({"fits.model.encoder": "RN101"})
    assert {cell.options["model.encoder"] for cell in cells} == {"RN101"}


def test_the_original_of_every_encoder_that_is_tuned_is_tested(steps):
    grid = {"model.encoder": ["RN50", "RN101"]}
    names = [cell.name for cell in steps(changes={"fits": {"grid": grid}}) if not cell.weights]
    assert names[2:] == ["tests/test/original-RN50", "tests/test/original-RN101"]


def test_options_are_for_all_steps_or_behind_a_steps_name_for_that_one(steps):
    fit, *_, test = steps({"data.limit": 3, "tests.data.every": 2}, options={"data.batch_size": 7, "data.limit": 5})
    assert fit.options == {"data.batch_size": 7, "data.limit": 3, "data.seed": 0}
    assert test.options["data.limit"], test.options["data.every"] == (3, 2)
    assert test.options["data.batch_size"] == 7


@pytest.mark.parametrize(
    ("filters", "counts"),
    [
        (["seed=0"], (2, 5)),
        (["arm=control", "share=0.5"], (2, 3)),
        (["step=tests", "of=original"], (0, 1)),
        (["step=fits"], (4, 0)),
        (["of=seed-0-tuned-share-1"], (4, 1)),
    ],
)
def test_a_filter_holds_in_the_steps_that_have_its_axis_and_spares_the_original(steps, filters, counts):
    chosen = only(steps(), filters)
    assert tuple(sum(cell.step == step for cell in chosen) for step in ("fits", "tests")) == counts


def test_shares_and_combinations_can_be_chosen(steps):
    tests = STEPS["tests"] | {"grid": {"of": {"weights_of": "fits", "shares": {1: {}, 0.5: {"arm": "tuned"}}}}}
    names = [cell.name for cell in steps(changes={"tests": tests}) if cell.labels.get("share") == "share-0.5"]
    assert names == ["tests/seed-0/tuned/share-0.5", "tests/seed-1/tuned/share-0.5"]
    left = steps(changes={"fits": {"exclude": [{"seed": 1, "arm": ["control"]}]}, "tests": tests})
    assert [cell.name for cell in left if cell.command == "fit"] == [
        "fits/seed-0/tuned", "fits/seed-0/control", "fits/seed-1/tuned",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "change", "message"),
    [
        ("tests", {"grid": {"of": {"weights_of": "fit"}}}, "'fit' is no earlier step of fits: choose from fits"),
        ("tests", {"grid": {"of": {"weights_of": "fits", "share": 1}}}, "'share' is unknown"),
        ("tests", {"grid": {"of": {"weights_of": "fits", "shares": [2]}}}, "shares from 0 to 1"),
        ("tests", {"grid": {"of": {"weights_of": "fits", "shares": []}}}, "shares from 0 to 1"),
        ("tests", {"grid": {"of": {"weights_of": "fits", "shares": [0.25]}}}, "exports no share 0.25, only 1, 0.5"),
        ("tests", {"grid": {"of": {"weights_of": "fits"}, "seed": ["a"]}}, "two axes are called seed"),
        ("fits", {"exclude": [{"arm": "treated"}]}, "there is no arm treated: choose from control, tuned"),
        ("fits", {"exclude": [{"leg": "left"}]}, "there is no leg left: choose from arm, seed"),
        ("fits", {"exclude": [{"seed": [0, 1]}]}, "leaves no cell"),
        ("fits", {"exclude": {"seed": 0}}, "`exclude` has to be a list"),
        ("fits", {"options": {"config": "test.yaml"}}, "test.yaml leaves no weights"),
        ("fits", {"steps": {}}, "'steps' is unknown"),
    ],
)
def test_mistakes_in_a_step_are_one_line(steps, step, change, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        steps(changes={step: change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["data", "../x", "a b", 3, "a.b", ""])
def test_a_steps_name_is_a_folder_and_no_group_of_options(steps, name):
    with pytest.raises(UserError, match="is no name of a step"):
        steps(steps={name: STEPS["fits"]})


def test_weights_that_only_the_fit_finds_are_refused(steps, tmp_path):
    writer = {**WRITER, "init_args": {"export": ["best"]}}
    steps()
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump({**FIT, "trainer": {"callbacks": [writer]}}))
    with pytest.raises(UserError, match="which only the fit finds: list shares"):
        read_sweep(Path("sweep.yaml"), None, {})


@pytest.fixture
def two(steps):
    """The sweep with two fits."""
    return partial(steps, changes={"fits": {"grid": {"data.seed": [0, 1]}}})


def digest(cell, share, attempt=0):
    return f"{cell.name} {share:g} {attempt}"


def complete(cell, attempt=0):
    """What a fit or a test leaves; the weights depend on the attempt at the fit."""
    weights = cell.weights
    saved = cell.expected()
    if weights and cell.command == "test":
        saved["model"]["init_args"][weights[0].tested_as.removeprefix("model.")] = str(weights[0].file)
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(saved))
    if cell.command == "fit":
        exports = [
            Export(share, share == 1, f"tuned-{share:g}.safetensors", digest(cell, share, attempt))
            for share in (0.5, 1.0)
        ]
        members = tuple(weights.export.sha256 for weights in cell.weights)
        fit_record(exports=tuple(exports), members=members).write(cell.folder)
    else:
        model = {"weights_sha256": "original"}
        if weights:
            beside = weights[0].tested_as == "model.restoration"
            model |= {"restoration": "tuned.safetensors"} if beside else {}
            model |= {"restoration": cell.options["model.restoration"]} if "model.restoration" in cell.options else {}
            model["restoration_sha256" if beside else "weights_sha256"] = weights[0].export.sha256
        made = run_record(nested({"original": 3, "jpeg-75": 2}, 4), model=model)
        replace(made, run=RunInfo("test", seconds=2.0)).write(cell.folder)
    return 0


@pytest.fixture
def sweep(monkeypatch):
    """Runs cells by a function; gives the outcome, the names of those that ran and the lines said."""

    def sweep(cells, run=complete, *, retry=False, wait=True, jobs=1):
        ran, lines = [], []

        def recorded(_processes, cell, _place):
            ran.append(cell.name)
            return run(cell)

        monkeypatch.setattr(CellProcesses, "run", recorded)
        places = [Place()] * jobs
        outcome = run_cells(cells, retry=retry, wait=wait, work=lambda cell: None, say=lines.append, places=places)
        return outcome, ran, lines

    return sweep


@pytest.mark.parametrize("jobs", [1, 3])
def test_fits_come_before_the_tests_of_their_weights_and_the_second_time_none_runs(two, sweep, jobs):
    cells = two()
    outcome, ran, _ = sweep(cells, jobs=jobs, wait=False)
    assert sorted(ran) == sorted(cell.name for cell in cells)
    places = {name: place for place, name in enumerate(ran)}
    assert all(places[cell.weights[0].fit.name] < places[cell.name] for cell in cells if cell.weights)
    assert not outcome.failed
    assert not outcome.left_out
    assert sweep(two())[1] == []


def test_a_failed_fit_leaves_its_tests_out_and_says_so_and_a_retry_makes_both(two, sweep):
    def run(cell):
        if cell.name == "fits/seed-0":
            (cell.folder / LOG).write_text("error: diverged\n")
            return 1
        return complete(cell)

    outcome, ran, lines = sweep(two(), run)
    assert list(outcome.failed) == ["fits/seed-0"]
    missing = {f"tests/test/seed-0/share-{share}": "fits/seed-0 has failed" for share in ("1", "0.5")}
    assert outcome.left_out == missing
    assert len(ran) == 7 - 2
    assert any("share-1: left out: fits/seed-0 has failed" in line for line in lines)
    outcome, ran, _ = sweep(two(), retry=True)
    assert ran == ["fits/seed-0", *missing]
    assert not outcome.left_out


def test_a_sweep_that_was_killed_goes_on_where_it_stopped(two, sweep):
    def run(cell):
        if cell.name.endswith("seed-1/share-1"):
            raise KeyboardInterrupt
        return complete(cell)

    with pytest.raises(KeyboardInterrupt):
        sweep(two(), run)
    left = [cell.name for cell in two() if state(cell)[0] is State.OPEN]
    assert left[0] == "tests/test/seed-1/share-1"
    assert sweep(two())[1] == left


def test_tests_alone_leave_out_what_is_not_fitted_instead_of_waiting_for_ever(two, sweep):
    outcome, ran, _ = sweep(only(two(), ["step=tests"]))
    assert ran == ["tests/test/original"]
    assert set(outcome.left_out.values()) == {"fits/seed-0 is not done", "fits/seed-1 is not done"}


def test_another_option_of_a_fit_makes_it_stale_and_leaves_its_tests_out(two, sweep):
    sweep(two())
    outcome, ran, _ = sweep(only(two({"fits.trainer.max_epochs": 2}), ["seed=0"]))
    assert ran == []
    assert outcome.failed == {
        "fits/seed-0": "runs/fits/seed-0 holds results with another trainer.max_epochs: remove it"
    }
    assert len(outcome.left_out) == 2


def test_results_of_weights_that_were_fitted_anew_are_stale(two, sweep):
    sweep(two())
    fit, *_ = two()
    complete(fit, attempt=1)
    outcome, ran, _ = sweep(two())
    assert ran == []
    assert outcome.failed == {
        f"tests/test/seed-0/share-{share}": f"runs/tests/test/seed-0/share-{share} holds results with "
        "another fit of fits/seed-0: remove it"
        for share in ("1", "0.5")
    }


def test_what_a_fit_of_a_front_end_leaves_is_tested_in_front_of_the_encoder(steps, tmp_path, sweep):
    front = {"class_path": "bench.RestorationTuning", **MODEL}
    (tmp_path / "front.yaml").write_text(yaml.safe_dump({**FIT, "model": front}))
    grid = {"data.seed": [0, 1], "method": {"whole": {}, "front": {"config": "front.yaml"}}}
    cells = steps(changes={"fits": {"grid": grid}})
    (front,) = (cell for cell in cells if cell.name == "tests/test/seed-1/front/share-1")
    sweep(cells)
    file = "runs/fits/seed-1/front/tuned-1.safetensors"
    assert [one for one in front.arguments() if "model." in one] == [
        "--model.encoder=RN50", "--model.pretrained=openai", f"--model.restoration={file}",
    ]  # fmt: skip
    assert sweep(cells)[1] == []
    complete(front.weights[0].fit, attempt=1)
    assert front.name in sweep(cells)[0].failed
    averaged = {
        "command": "fit",
        "options": {"config": "fit.yaml"},
        "grid": {"of": {"weights_of": "fits", "over": "seed"}},
    }
    names = [
        cell.name
        for cell in steps(
            changes={"fits": {"grid": grid}}, steps={"fits": {**STEPS["fits"], "grid": grid}, "means": averaged}
        )
    ]
    assert names[4:] == ["means/mean/whole"]


def test_tuned_weights_may_be_tested_behind_a_filter(two, sweep):
    cells = two({"tests.model.restoration": "deblock-25"})
    sweep(cells)
    assert sweep(cells)[1] == []
    assert not sweep(cells)[0].failed


def test_a_sweep_whose_folder_was_moved_is_still_done(two, sweep):
    sweep(two())
    Path("runs").rename("moved")
    assert sweep(two(output="moved"))[1] == []


def test_an_export_that_the_record_does_not_list_fails_the_test_in_one_line(two, sweep):
    sweep(two())
    cell = two()[4]
    record = json.loads((cell.weights[0].fit.folder / "finetuning.json").read_text())
    fit_record(exports=(Export(1.0, True, record["exports"][1]["file"], record["exports"][1]["sha256"]),)).write(
        cell.weights[0].fit.folder
    )
    now, reason = state(cell)
    assert now is State.FAILED
    assert "lists no weights with a share of 0.5: fit it anew" in reason


SOUPS = {"command": "fit", "options": {"config": "fit.yaml"}, "grid": {"of": {"weights_of": "fits", "over": "seed"}}}


@pytest.fixture
def soups(steps):
    """Reads a sweep with a step that averages over seeds, whose weights are tested beside those of the fits."""

    def read(change=None, fits=None, **options):
        tests = {"options": {"config": "test.yaml"}, "grid": {"of": {"weights_of": ["fits", "soups"], "shares": [1]}}}
        parts = {
            "fits": STEPS["fits"] | (fits or {}),
            "soups": SOUPS | {"grid": {"of": SOUPS["grid"]["of"] | (change or {})}},
        }
        return steps(steps={**parts, "tests": tests}, **options)

    return read


def test_weights_of_fits_that_differ_in_one_axis_are_averaged_and_tested(soups, sweep):
    cells = {cell.name: cell for cell in soups()}
    assert [name for name in cells if name.startswith("soups/")] == ["soups/mean/tuned", "soups/mean/control"]
    assert [name for name in cells if name.startswith("tests/")] == [
        "tests/original",
        "tests/seed-0/tuned/share-1", "tests/seed-0/control/share-1",
        "tests/seed-1/tuned/share-1", "tests/seed-1/control/share-1",
        "tests/mean/tuned/share-1", "tests/mean/control/share-1",
    ]  # fmt: skip
    members = [weights.fit.name for weights in cells["soups/mean/control"].weights]
    assert members == ["fits/seed-0/control", "fits/seed-1/control"]
    assert [cell.name for cell in only(list(cells.values()), ["seed=0"]) if cell.step == "soups"] == []
    _, ran, _ = sweep(list(cells.values()))
    assert sorted(ran) == sorted(cells)
    files = "runs/fits/seed-0/tuned/tuned-1.safetensors, runs/fits/seed-1/tuned/tuned-1.safetensors"
    assert f"--model.members=[{files}]" in cells["soups/mean/tuned"].arguments()
    assert sweep(soups())[1] == []


def test_of_sweeps_that_wait_for_nothing_the_one_that_ends_last_makes_what_hangs_on_the_others_fits(
    soups, sweep, monkeypatch
):
    """As if another sweep were at work on the first fit until this one has made the second."""
    first, *others = soups(fits={"grid": {"data.seed": [0, 1]}})
    taken = []
    acquire = locks.acquire

    def elsewhere(file):
        if file.parent == first.folder and not taken:
            return False
        return acquire(file)

    def run(cell):
        if cell == others[0]:
            taken.append(complete(first))
        return complete(cell)

    monkeypatch.setattr(locks, "acquire", elsewhere)
    outcome, ran, _ = sweep([first, *others], run, wait=False)
    assert "soups/mean" in ran
    assert not outcome.elsewhere
    assert outcome.done[first.name] is False


def test_a_mean_of_weights_that_were_fitted_anew_is_stale(soups, sweep):
    sweep(soups())
    complete(soups()[0], attempt=1)
    outcome, _, _ = sweep(soups())
    assert outcome.failed["soups/mean/tuned"] == (
        "runs/soups/mean/tuned holds results with another fit of fits/seed-0/tuned: remove it"
    )
    assert outcome.left_out == {"tests/mean/tuned/share-1": "soups/mean/tuned has failed"}


def test_fits_of_one_axis_have_one_mean_and_single_ones_none(soups, steps):
    names = [cell.name for cell in soups(fits={"grid": {"data.seed": [0, 1, 2]}})]
    assert [name for name in names if "mean" in name] == ["soups/mean", "tests/mean/share-1"]
    one = {
        "grid": {"data.seed": [0, 1], "arm": {"tuned": {}, "control": {}}},
        "exclude": [{"arm": "control", "seed": 1}],
    }
    assert [cell.name for cell in soups(fits=one) if cell.step == "soups"] == ["soups/mean/tuned"]
    with pytest.raises(UserError, match="no two fits differ in seed alone"):
        soups(fits={"grid": {"data.seed": [0]}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"over": "arm", "weights_of": "tests"}, "'tests' is no earlier step of fits"),
        ({"over": "place"}, "name the axis of the fits to average over with `over`, one of seed, arm"),
        ({"over": None}, "name the axis of the fits to average over"),
        ({"shares": [1]}, "'shares' is unknown, choose from weights_of, over"),
    ],
)
def test_what_cannot_be_averaged_is_said_in_a_line(soups, change, message):
    with pytest.raises(UserError, match=re.escape(message)):
        soups(change)


def test_a_dry_run_counts_what_fits_are_yet_to_leave(two, sweep, monkeypatch):
    def unknown(cell):
        raise UserError("not asked here")

    monkeypatch.setattr(costs, "cell_cost", unknown)
    told = costs.dry_run(two(), 10)
    assert "tests: 5 cells of `lightning test`, 0 done, 4 of weights that fits are yet to leave" in told
    sweep(only(two(), ["step=fits", "seed=0"]))
    told = costs.dry_run(two(), 10)
    assert "fits: 2 cells of `lightning fit`, 1 done" in told
    assert "0 done, 2 of weights that fits are yet to leave" in told
    assert "tests/test/seed-1/share-0.5" in told


def test_the_example_of_the_documentation_is_three_fits_a_seed_and_the_tests_of_their_weights(
    repository, tmp_path, monkeypatch
):
    monkeypatch.chdir(repository)
    [example] = re.findall(r"```yaml\n(.*?)```", (repository / "docs/sweeps.md").read_text(), re.DOTALL)
    (tmp_path / "study.yaml").write_text(example)
    names = [cell.name for cell in read_sweep(tmp_path / "study.yaml", None, {})]
    assert names[:3] == ["fits/seed-0/linear/tuned", "fits/seed-0/augment/tuned", "fits/seed-0/augment/control"]
    assert {"tests/original", "tests/seed-0/augment/control/share-0.5"} <= set(names)
    assert len(names) == 6 + 1 + 6 * 3
