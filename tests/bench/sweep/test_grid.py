import re
from pathlib import Path

import pytest
import yaml

from bench.sweep.cells import Cell
from bench.sweep.grid import only, read_sweep
from datamodules.errors import UserError

BASE = {
    "seed_everything": 0,
    "trainer": {"devices": "auto", "callbacks": [{"class_path": "callbacks.ResultsWriter"}]},
    "model": {"class_path": "bench.ZeroShotEvaluation", "init_args": {"encoder": "RN50", "pretrained": "openai"}},
    "data": {"class_path": "datamodules.CIFAR10", "init_args": {"split": "test", "root": "data", "batch_size": 128}},
}


@pytest.fixture
def base(tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text(yaml.safe_dump(BASE))
    return str(file)


@pytest.fixture
def sweep(tmp_path, base):
    def sweep(grid, extra=None, **content):
        file = tmp_path / "sweep.yaml"
        content = {"output": "runs/x", "options": {"config": base}, "grid": grid, **content}
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return read_sweep(file, None, extra or {})

    return sweep


def test_cells_are_the_product_of_the_axes_the_last_running_fastest(sweep):
    cells = sweep({"model.encoder": ["RN50", "ViT-L/14@336px"], "data.split": ["test", "train"]})
    assert [cell.name for cell in cells] == ["RN50/test", "RN50/train", "ViT-L-14@336px/test", "ViT-L-14@336px/train"]
    assert cells[3].options == {"model.encoder": "ViT-L/14@336px", "data.split": "train"}
    assert cells[3].folder == Path("runs/x/ViT-L-14@336px/train")


def test_a_value_may_set_several_options_and_the_configuration(sweep, base):
    cells = sweep(
        {"data": {"small": {"config": base, "data.limit": 5}, "all": {"config": base}}, "seed_everything": [0, 1]}
    )
    assert [cell.name for cell in cells] == [
        "small/seed_everything-0", "small/seed_everything-1", "all/seed_everything-0", "all/seed_everything-1",
    ]  # fmt: skip
    assert cells[0].options == {"data.limit": 5, "seed_everything": 0}


def test_options_of_the_command_win_over_the_cells_and_these_over_the_common_ones(sweep, base):
    [cell] = sweep(
        {"data.limit": [5]}, options={"config": base, "data.limit": 3, "data.every": 2}, extra={"data.every": 7}
    )
    assert cell.options == {"data.limit": 5, "data.every": 7}


def test_arguments_are_those_of_a_run_by_hand_in_the_cells_folder(sweep, base):
    cell = sweep(
        {"data.split": ["test"], "data.degradations": {"low": {"data.degradations": ["jpeg-5"], "data.limit": None}}}
    )[0]
    assert cell.arguments() == [
        "test", "--config", base, "--data.split=test", "--data.degradations=[jpeg-5]", "--data.limit=null",
        "--trainer.logger.save_dir=runs/x", "--trainer.logger.name=test", "--trainer.logger.version=low",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["RN50/test", "RN50/train", "ViT-B-32/test", "ViT-B-32/train"]),
        (["encoder=RN50"], ["RN50/test", "RN50/train"]),
        (["model.encoder=ViT-B/32", "split=train"], ["ViT-B-32/train"]),
        (["encoder=RN50,ViT-B-32", "split=test"], ["RN50/test", "ViT-B-32/test"]),
    ],
)
def test_filters_choose_by_label_or_value(sweep, filters, names):
    cells = sweep({"model.encoder": ["RN50", "ViT-B/32"], "data.split": ["test", "train"]})
    assert [cell.name for cell in only(cells, filters)] == names


@pytest.mark.parametrize("text", ["encoder=RN51", "coder=RN50", "encoder", "encoder=", "split=test,tset"])
def test_filters_that_choose_nothing_are_refused(sweep, text):
    cells = sweep({"model.encoder": ["RN50"], "data.split": ["test"]})
    with pytest.raises(UserError, match="chooses nothing"):
        only(cells, [text])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("grid: [", "cannot be read"),
        ("- 1", "no mapping"),
        ("output: x\ngrid: {}", "mapping of axes"),
        ("output: x\ngrid: {a.b: 3}", "list of values"),
        ("output: x\ngrid: {a.b: []}", "list of values"),
        ("output: x\ngrid: {a.b: [x, {y: 1}]}", "names the configuration"),
        ("output: x\noptions: {config: c}\ngrid: {a.b: [x/y, x-y]}", "two values of axis 'a.b' have one label"),
        ("grid: {a.b: [1]}", "name the folder"),
        ("output: x\ngrid: {a.b: [1]}\nbogus: 1", "'bogus' is unknown"),
        ("output: x\ngrid: {a.b: [1]}", "names the configuration"),
    ],
)
def test_mistakes_in_the_file_are_one_line(tmp_path, content, message):
    file = tmp_path / "sweep.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_sweep(file, None, {})
    assert len(str(caught.value).splitlines()) == 1


class TestDifferences:
    @pytest.fixture
    def differences(self, tmp_path, base):
        def differences(change, options=None):
            cell = Cell({"a": "b"}, base, options or {}, tmp_path / "cell")
            cell.folder.mkdir()
            saved = yaml.safe_load(yaml.safe_dump(BASE))
            saved["trainer"] |= {"precision": None, "logger": {"init_args": {"name": "x"}}}
            saved["data"]["init_args"] |= {"limit": None, "num_workers": 3, "ratio": 0.0001}
            change(saved)
            (cell.folder / "config.yaml").write_text(yaml.safe_dump(saved))
            return cell.differences()

        return differences

    def test_a_saved_configuration_with_all_defaults_is_no_different(self, differences):
        assert differences(lambda saved: None) == []

    @pytest.mark.parametrize(
        ("name", "found"),
        [("bench.finetuning.Augment", []), ("Augment", []), ("bench.finetuning.Consistency", ["model.objective"])],
    )
    def test_a_class_is_the_object_that_a_run_made_of_it(self, differences, name, found):
        def change(saved):
            saved["model"]["init_args"]["objective"] = {"class_path": "bench.finetuning.Augment"}

        assert differences(change, {"model.objective": name}) == found

    def test_how_a_run_is_run_makes_no_difference(self, differences):
        def change(saved):
            saved["trainer"]["devices"] = 8
            saved["data"]["init_args"] |= {"batch_size": 4, "root": "elsewhere"}

        assert differences(change) == []

    @pytest.mark.parametrize("kind", ["datamodules.ImageFolder", "datamodules.TarShards", "datamodules.ViewFolders"])
    def test_another_folder_holds_other_images(self, differences, base, kind):
        Path(base).write_text(yaml.safe_dump({**BASE, "data": {**BASE["data"], "class_path": kind}}))

        def change(saved):
            saved["data"]["class_path"] = kind
            saved["data"]["init_args"]["root"] = "elsewhere"

        assert differences(change) == ["data.root"]

    @pytest.mark.parametrize(
        ("part", "options", "found"),
        [
            ("data", {"limit": 100, "every": 3, "num_workers": 7}, ["data.every", "data.limit"]),
            ("data", {"limit": None, "every": 1, "patience": 600.0}, []),
            ("trainer", {"precision": "bf16-true", "devices": 4}, ["trainer.precision"]),
            ("model", {"templates": ["a {}."], "normalise": True}, ["model.templates"]),
        ],
    )
    def test_an_option_that_is_no_longer_asked_for_makes_one(self, differences, part, options, found):
        def change(saved):
            saved[part].setdefault("init_args", {}).update(options)
            if part == "trainer":
                saved[part] |= options

        assert sorted(differences(change)) == found

    def test_that_holds_of_the_options_of_an_option(self, differences):
        views = {
            "codecs": {"jpeg-{}": [10, 95]},
            "clean": 0.25,
            "flip": 0.0,
            "law": {"class_path": "datamodules.Uniform"},
        }

        def change(saved):
            saved["data"]["init_args"]["training_views"] = views
            saved["model"]["init_args"]["objective"] = {
                "class_path": "bench.finetuning.Consistency", "init_args": {"keep": 0.5},
            }  # fmt: skip

        asked = {"codecs": views["codecs"]}
        options = {"data.training_views": asked, "model.objective": "bench.finetuning.Consistency"}
        assert differences(change, options) == ["data.training_views.clean", "model.objective.keep"]

    def test_what_depends_on_neighbours_depends_on_the_size_of_a_batch(self, differences, base):
        kind = "bench.TestTimeAdaptation"
        Path(base).write_text(yaml.safe_dump({**BASE, "model": {**BASE["model"], "class_path": kind}}))

        def change(saved):
            saved["model"]["class_path"] = kind
            saved["data"]["init_args"]["batch_size"] = 16

        assert differences(change) == ["data.batch_size"]

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ({"model.encoder": "RN101"}, ["model.encoder"]),
            ({"data.limit": 5}, ["data.limit"]),
            ({"seed_everything": 1}, ["seed_everything"]),
            ({"trainer.precision": "bf16-mixed"}, ["trainer.precision"]),
            ({"trainer.devices": 3}, []),
            ({"data.ratio": "1e-4"}, []),
            ({"data.ratio": "2e-4"}, ["data.ratio"]),
            ({"data.ratio": "x"}, ["data.ratio"]),
        ],
    )
    def test_what_is_measured_makes_one(self, differences, options, found):
        assert differences(lambda saved: None, options) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"../../x": [1]}}, "'../../x' is no name of an axis"),
        ({"grid": {"a.b": {"l": {"../c": 1}}}}, "'../c' is no name of an axis or an option"),
        ({"grid": {"a/b": {"l": {"c.d": 1}}}}, "'a/b' is no name"),
        ({"grid": {"a.b": {"l": {"trainer.logger.save_dir": "/tmp"}}}}, "trainer.logger.save_dir says where a cell"),
        ({"grid": {"trainer.logger": [False]}}, "trainer.logger says where a cell writes"),
        ({"grid": {"trainer": [{"default_root_dir": "/"}]}}, "trainer says where a cell writes"),
        ({"grid": {f"a.x{axis}": list(range(100)) for axis in range(4)}}, "the grid has 100,000,000 cells"),
        ({"grid": {"a.b": ["x\0y"]}}, "holds a NUL character"),
        ({"grid": {"a.b": {"l": {"a.b": "x" * 300_000}}}}, "has 300,000 characters"),
        ({"grid": {"a.b": ["x" * 300]}}, "too long for the name of a folder"),
        ({"grid": {"a.b": [1]}, "options": {"config": "nowhere"}}, "'nowhere' is no file"),
        ({"grid": {3: [1]}}, "'3' is no name"),
    ],
)
def test_grids_that_would_leave_their_folder_or_never_end_are_refused_in_one_line(sweep, content, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        sweep(content.pop("grid"), **content)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_options_of_the_command_line_are_held_to_the_same(sweep):
    with pytest.raises(UserError, match="says where a cell writes"):
        sweep({"a.b": [1]}, extra={"trainer.default_root_dir": "/tmp"})


@pytest.mark.parametrize("value", ["../../x", "..", "/etc/passwd", "a\nb", {"../x": 1}, ["../.."], "\u202ex"])
def test_every_cell_lies_in_a_folder_of_its_own_below_the_output(sweep, value):
    (cell,) = sweep({"a.b": [value]})
    assert cell.folder.parent == Path("runs/x")
    assert re.fullmatch(r"[\w+@.-]+", cell.folder.name)
    assert cell.folder.name not in (".", "..")


def test_a_configuration_is_found_beside_the_sweep_and_by_name(sweep, tmp_path, base, repository):
    (cell,) = sweep({"a.b": [1]}, options={"config": "base.yaml"})
    assert Path(cell.config) == Path(base)
    (cell,) = sweep({"config": ["finetune/linear"]})
    assert (Path(cell.config).resolve(), cell.name) == (repository / "configs/finetune/linear.yaml", "linear")


def test_a_sweep_of_fits_holds_its_cells_to_what_changes_a_fit(sweep, tmp_path):
    [cell] = sweep({"data.split": ["train"]}, command="fit")
    assert cell.arguments()[0] == "fit"
    own = Cell(cell.labels, cell.config, {"data.batch_size": 64, "trainer.max_epochs": 2}, tmp_path / "cell", "fit")
    own.folder.mkdir()
    saved = yaml.safe_load(yaml.safe_dump(BASE))
    saved["trainer"] |= {"max_epochs": 3}
    (own.folder / "config.yaml").write_text(yaml.safe_dump(saved))
    assert own.differences() == ["data.batch_size", "trainer.max_epochs"]
    with pytest.raises(UserError, match="'predict' cannot be swept"):
        sweep({"data.split": ["train"]}, command="predict")
