"""What `lightning`, `--help` and `--version` print; nothing heavy is imported for it."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import datamodules
from bench.command_line.configs import find_config, shipped
from bench.command_line.signatures import Description, Option, describe, describe_trainer
from bench.command_line.yaml_text import read_yaml
from datamodules.errors import UserError

COMMANDS: Mapping[str, str] = {
    "test": "measure an encoder on a labelled data set, view by view",
    "predict": "the same for images without labels: which predictions change",
    "fit": "fine-tune an encoder so that compression costs it less, or train one",
    "validate": "measure on the held-out images of a fit",
    "repair": "fit, test and report in one: an encoder that compression of these images costs less",
    "sweep": "a grid of test or fit runs, resumable and shared by any number of processes",
    "references": "published figures, and how many cells of some runs can be checked against them",
    "report": "tables, figures and statistics from the results of any number of runs",
    "export": "every view of a data set as files, resumable, for other programs and for `ViewFolders`",
    "audit": "which images of a data set were lossy before, by their headers and their pixels",
    "tables": "JPEG quantisation tables that cost an encoder less at the same bytes",
}
LIGHTNING_COMMANDS = ("test", "predict", "fit", "validate")
_MODELS = {"fit": "bench.RobustFineTuning", "validate": "bench.RobustFineTuning"}
DATA = tuple(f"datamodules.{name}" for name in datamodules.__all__)
_WIDTH, _COLUMN = 118, 34
OTHERS = (
    (
        "--config",
        "NAME|FILE",
        "one of this project's configurations, or a YAML file; later ones win; options win over it",
    ),
    ("--seed_everything", "INT", "seed of everything that is random, 0 or above"),
    ("--ckpt_path", "FILE", "a checkpoint of an interrupted fit (fit, validate)"),
    ("--print_config", "", "the whole configuration with all defaults, as YAML; nothing is run"),
)


def overview() -> str:
    """All commands, a line each."""
    lines = ["usage: lightning COMMAND [--config NAME|FILE] [--option VALUE ...]", "", "commands:"]
    lines += [f"  {name:12}{text}" for name, text in COMMANDS.items()]
    lines += [
        "", "for example:", "  lightning test --config demo", "  lightning report runs/demo",
        "", "`lightning COMMAND --help` lists the options of a command; --version prints the version", "",
        *_configurations(),
    ]  # fmt: skip
    return "\n".join(lines)


def installed_version() -> str:
    """Name and version of this project."""
    name = "clip-compression-bench"
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} (not installed)"


def command_help(command: str, words: Sequence[str]) -> str:
    """The options of `test`, `predict`, `fit` or `validate`.

    Args:
        command: The command.
        words: All arguments: classes that they or their configurations name are described in place of the usual ones.
    """
    model, data = chosen_classes(command, words)
    lines = [
        f"usage: lightning {command} [--config NAME|FILE] [--option VALUE ...]",
        "",
        COMMANDS[command],
        "",
        *_rows(OTHERS),
        "",
        *_section("model", [model], "here"),
        "",
        *_section("data", data, "one of" if len(data) > 1 else "here"),
        "",
        "Trainer, --trainer.OPTION (Lightning's documentation has more on each):",
        *_rows((f"--trainer.{o.name}", "", brief(o)) for o in describe_trainer().options),
        "",
        *_configurations(),
        "",
        f"another class: `lightning {command} --model.help CLASS`, `--data.help CLASS`",
    ]
    return "\n".join(lines)


def chosen_classes(command: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """The class paths of the model and of the data that a command line names, else the usual ones."""
    found: dict[str, str] = {}
    for key, value in _pairs(words):
        if key == "config":
            try:
                content = read_yaml(find_config(value))
            except (UserError, OSError):
                continue
            for part in ("model", "data"):
                path = content[part].get("class_path") if isinstance(content.get(part), dict) else content.get(part)
                found |= {part: path} if isinstance(path, str) else {}
        elif key.removesuffix(".class_path") in ("model", "data"):
            found[key.removesuffix(".class_path")] = value
    model = found.get("model", "")
    data = found.get("data", "")
    return (
        model if describe(model) else _default_model(command),
        [data] if describe(data) else list(DATA),
    )


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Options and their values, `--key value` or `--key=value`."""
    pairs = []
    for place, word in enumerate(words):
        if word.startswith("-"):
            key, equals, value = word.lstrip("-").partition("=")
            following = words[place + 1] if place + 1 < len(words) else ""
            pairs.append(("config" if key == "c" else key, value if equals else following))
    return pairs


def _default_model(command: str) -> str:
    return _MODELS.get(command, "bench.ZeroShotEvaluation")


def _section(group: str, paths: Sequence[str], how: str) -> list[str]:
    classes = [(path, describe(path)) for path in paths]
    described = [(path, one) for path, one in classes if one is not None]
    lines = [f"{group}, --{group} CLASS ({how} {', '.join(path for path, _ in described)}):"]
    if len(described) == 1:
        return [*lines, *_options(group, described[0][1].all_options())]
    shared = described[0][1].base
    for path, one in described:
        lines += [f"  {path}: {one.summary}", *_options(group, one.options)]
    return [*lines, "  all of them:", *_options(group, shared.all_options() if shared else ())]


def _options(group: str, options: Sequence[Option]) -> list[str]:
    return _rows((f"--{group}.{one.name}", one.kind, with_default(one)) for one in options)


def with_default(option: Option) -> str:
    """What an option is for, and the value that it has where none is given."""
    text = option.text
    if text.startswith("As for `") and (source := describe(text.split("`")[1])):
        text = next((other.text for other in source.options if other.name == option.name), text)
    return f"{text} (required)" if option.default is None else f"{text} (default: {option.default})"


def brief(option: Option) -> str:
    """The first sentence of what an option is for, shortened to a line, and its default."""
    plain = re.sub(r":\w+:`([^`]*)`|`+", r"\1", option.text)
    sentence = plain.partition(". ")[0].rstrip(".")
    return textwrap.shorten(sentence, _WIDTH - _COLUMN - 20, placeholder=" ...") + f" (default: {option.default})"


def _rows(rows: Any) -> list[str]:
    lines = []
    for name, kind, text in rows:
        head = f"  {name} {kind}".rstrip()
        body = textwrap.wrap(text, _WIDTH - _COLUMN, break_on_hyphens=False) or [""]
        if len(head) < _COLUMN:
            lines.append(f"{head:{_COLUMN}}{body[0]}")
            body = body[1:]
        else:
            lines.append(head)
        lines += [" " * _COLUMN + line for line in body]
    return lines


def _configurations() -> list[str]:
    return textwrap.wrap(
        f"configurations: {', '.join(shipped())}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )


def option_names(command: str, words: Sequence[str]) -> list[str]:
    """All options, with their groups, that a command line of `test`, `predict`, `fit` or `validate` may have."""
    model, data = chosen_classes(command, words)
    groups: list[tuple[str, Description | None]] = [("model", describe(model)), ("trainer", describe_trainer())]
    groups += [("data", describe(path)) for path in data]
    names = [f"--{group}.{option.name}" for group, one in groups if one for option in one.all_options()]
    return [*(name for name, _, _ in OTHERS), "--model", "--data", *dict.fromkeys(names)]
