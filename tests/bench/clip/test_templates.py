import json
from types import SimpleNamespace

import pytest
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

from bench.clip.templates import read_templates, templates_of
from datamodules.errors import UserError


def test_names_are_open_clips_lists():
    assert read_templates("openai-imagenet") == tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
    assert read_templates("simple") == tuple(template("{}") for template in SIMPLE_IMAGENET_TEMPLATES)
    assert len(read_templates("openai-imagenet")) == 80


def test_a_file_a_prompt_and_a_list_are_what_they_say(tmp_path):
    (tmp_path / "prompts.txt").write_text("a {}.\n\nthe {}\n")
    (tmp_path / "prompts.json").write_text(json.dumps(["a {}.", "the {}"]))
    for given in (tmp_path / "prompts.txt", tmp_path / "prompts.json"):
        assert read_templates(str(given)) == ("a {}.", "the {}")
    assert read_templates("one {}") == ("one {}",)
    assert read_templates(["a {}.", "the {}"]) == ("a {}.", "the {}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("openai", "`templates` 'openai' is neither a prompt with '{}' in the place"),
        ("", "`templates` '' is neither a prompt"),
        ([], "there are no templates"),
        ("{} and {}", "'{} and {}' must contain '{}' once"),
    ],
)
def test_anything_else_is_one_line(given, message):
    with pytest.raises(UserError) as caught:
        read_templates(given)
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{}", '{"a": "b"}', "[3]", "[", '["no place"]'])
def test_a_file_that_holds_no_prompts_is_one_line(tmp_path, content):
    (tmp_path / "prompts.json").write_text(content)
    with pytest.raises(UserError) as caught:
        read_templates(str(tmp_path / "prompts.json"))
    assert "\n" not in str(caught.value)


def test_a_data_set_is_asked_for_its_own():
    assert read_templates("dataset") == ()
    assert templates_of(SimpleNamespace(dataset_name="x", templates=("a {}",))) == ("a {}",)
    with pytest.raises(UserError, match="x brings no prompts of its own: choose `templates` openai-imagenet or simple"):
        templates_of(SimpleNamespace(dataset_name="x", templates=()))
