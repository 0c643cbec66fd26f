from pathlib import Path

import pytest
import yaml

from bench.command_line.configs import find_config, read_config, shipped
from datamodules.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A configuration with files beside it, seen from an empty folder next to it."""
    (tmp_path / "mine/models").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    for name in ("models/a.json", "models/a.safetensors", "openai", "runs.pt"):
        (tmp_path / "mine" / name).write_text("")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "mine"


def written(folder, content):
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return read_config(folder / "mine.yaml")


def test_relative_paths_of_files_beside_a_configuration_lead_there(folder):
    model = {"encoder": "models/a.json", "pretrained": "models/a.safetensors"}
    config = written(folder, {"model": {"init_args": model}, "list": ["models/a.json", 3, None]})
    assert config["model"]["init_args"] == {name: str(folder / value) for name, value in model.items()}
    assert config["list"] == [str(folder / "models/a.json"), 3, None]


def test_tags_folders_outputs_and_files_that_are_not_there_stay_as_they_are(folder):
    content = {
        "pretrained": "openai",  # a tag, whatever lies beside the configuration
        "folder": "models",
        "output": "runs.pt",
        "root": "runs.pt",
        "weights": "models/b.safetensors",
        "encoder": "ViT-B/32",
        "absolute": "/etc/hosts.json",
        "odd": "x\0.pt",
        "long": "x" * 5000 + ".pt",
    }
    assert written(folder, content) == content


def test_a_path_below_the_working_directory_is_written_as_seen_from_there(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert written(folder, {"encoder": "models/a.json"}) == {"encoder": "mine/models/a.json"}


def test_names_of_shipped_configurations_are_found_from_anywhere(folder, repository):
    assert {"demo", "cifar10", "finetune/augment"} <= set(shipped())
    for name in shipped():
        assert find_config(name) == repository / "configs" / f"{name}.yaml"


def test_files_win_over_names_and_those_beside_the_naming_configuration_come_first(folder):
    Path("demo").write_text("")
    assert find_config("demo") == Path("demo")
    (folder / "demo.yaml").write_text("")
    assert find_config("demo.yaml", folder) == folder / "demo.yaml"


def test_a_misspelt_name_gets_a_suggestion(folder):
    with pytest.raises(UserError, match="did you mean demo_ig"):
        find_config("demo-ig")


def test_paths_in_shipped_configurations_are_there(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "demo_ig", "demo_finetune"):
        model = read_config(find_config(name))["model"]["init_args"]
        assert Path(model["encoder"]).is_absolute()
        assert Path(model["encoder"]).is_file()
        assert Path(model["pretrained"]).is_file()
