import time

import pytest
import yaml

from bench.command_line.yaml_text import LARGEST, check, read_value, read_yaml
from datamodules.errors import UserError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "brackets": ("[" * 100_000, "nested more than 64 levels"),
    "closed brackets": ("a: " + "[" * 5_000 + "]" * 5_000, "nested more than 64 levels"),
    "maps": ("{a: " * 5_000 + "1" + "}" * 5_000, "nested more than 64 levels"),
    "dashes": ("- " * 5_000 + "1", "nested more than 64 levels"),
    "indentation": ("".join(" " * level + f"k{level}:\n" for level in range(500)), "nested more than 64 levels"),
    "aliases": (LAUGHS, "once its aliases are written out"),
    "a loop": ("a: &a [*a]", r"\*a stands for something that holds itself"),
    "digits": ("a: " + "9" * 6_000, "number of 6,000 characters"),
    "size": ("a: " + "x" * LARGEST, "characters: a configuration has at most"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_yaml_is_refused_in_one_line_at_once(tmp_path, kind):
    text, message = HOSTILE[kind]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    start = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(file)
    with pytest.raises(UserError, match=message):
        read_value(text, "the value of --x")
    assert time.process_time() - start < 2
    assert "\n" not in str(caught.value)


def test_ordinary_yaml_passes_with_its_aliases(repository):
    for file in repository.glob("configs/**/*.yaml"):
        assert read_yaml(file) == yaml.safe_load(file.read_text())
    check("a: &a {x: 1}\nb: [*a, *a]\nc: " + "9" * 250 + "\nd: " + "x" * 5_000, "it")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", ".", "nowhere.yaml"])
def test_only_files_are_opened(name):
    with pytest.raises(UserError, match="is no file"):
        read_yaml(__import__("pathlib").Path(name))
