"""Options by dotted names, and which callback an option is of."""

import json

import pytest
import yaml

from bench.command_line.config_options import reaching_callbacks, with_options
from datamodules.errors import UserError

WRITER, REPORT, MAPS = "callbacks.ResultsWriter", "callbacks.TensorBoardReport", "callbacks.IntegratedGradients"
LISTED = [{"class_path": WRITER, "init_args": {"flush_seconds": 3}}, REPORT, {"class_path": MAPS}]


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"trainer": {"callbacks": LISTED}}))
    return str(file)


def callbacks(words):
    [given] = [word for word in words if word.startswith("--trainer.callbacks=")]
    return json.loads(given.partition("=")[2])


def test_an_option_reaches_the_last_callback_that_takes_it(config):
    words = ["test", "--config", config, "--trainer.callbacks.table", "parquet", "--trainer.callbacks.gallery=4"]
    found = reaching_callbacks(words)
    assert found[:3] == words[:3]
    assert callbacks(found) == [
        {"class_path": WRITER, "init_args": {"flush_seconds": 3, "table": "parquet"}},
        {"class_path": REPORT, "init_args": {"gallery": 4}},
        {"class_path": MAPS},
    ]
    assert len(found) == 4


def test_options_of_the_last_callback_and_unknown_ones_are_the_parsers(config):
    own = ["--trainer.callbacks.images=First", "--trainer.callbacks.images.n", "7", "--trainer.callbacks.tabel=x"]
    words = ["test", "--config", config, *own]
    assert reaching_callbacks(words) == words
    both = reaching_callbacks(["test", f"--config={config}", "--trainer.callbacks.table=parquet", *own])
    assert both[3:] == own
    assert callbacks(both)[0]["init_args"]["table"] == "parquet"


def test_callbacks_of_the_command_line_are_the_parsers(config):
    words = ["test", "--config", config, f"--trainer.callbacks={WRITER}", "--trainer.callbacks.table=parquet"]
    assert reaching_callbacks(words) == words


def test_the_last_configuration_that_lists_callbacks_counts(config):
    later = json.dumps({"trainer": {"callbacks": [WRITER, MAPS]}})
    words = ["--config", config, "--config", later, "--config", "{}", "--trainer.callbacks.table=parquet"]
    found = reaching_callbacks(words)
    assert found[:6] == words[:6]
    assert callbacks(found) == [{"class_path": WRITER, "init_args": {"table": "parquet"}}, MAPS]


def test_a_configuration_takes_options_of_callbacks_and_of_classes_without_arguments():
    config = {"model": {"class_path": "bench.X"}, "trainer": {"callbacks": LISTED}}
    changed = with_options(config, {"model.encoder": "RN50", "trainer.callbacks.gallery": 4}, "mine.yaml")
    assert changed["model"] == {"class_path": "bench.X", "init_args": {"encoder": "RN50"}}
    assert changed["trainer"]["callbacks"][1] == {"class_path": REPORT, "init_args": {"gallery": 4}}
    assert config["trainer"]["callbacks"] == LISTED


@pytest.mark.parametrize("option", ["trainer.callbacks.tabel", "seed.of"])
def test_an_option_below_what_has_none_is_refused(option):
    with pytest.raises(UserError, match=f"option {option} cannot be set"):
        with_options({"trainer": {"callbacks": LISTED}, "seed": 3}, {option: 1}, "mine.yaml")
