import inspect
import subprocess
import sys
from contextlib import suppress

import pytest

from bench.cli import main
from bench.command_line.help import COMMANDS, LIGHTNING_COMMANDS
from bench.command_line.signatures import describe, describe_trainer

HEAVY = {"torch", "lightning", "numpy", "open_clip", "matplotlib", "pandas", "scipy", "torchmetrics"}


def printed(capsys, *words):
    with suppress(SystemExit):
        main([*words])
    return capsys.readouterr().out


def test_lightning_alone_lists_every_command_with_a_line(capsys):
    out = printed(capsys)
    for command, line in COMMANDS.items():
        assert f"  {command:12}{line}\n" in out
    assert printed(capsys, "--help") == out


@pytest.mark.parametrize("words", [[], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_takes_less_than_a_second_of_cpu_and_imports_nothing_heavy(repository, words):
    program = (
        "import sys\nfrom bench.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    before = cpu_of_children()
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stderr.split()}
    assert done.stdout
    assert cpu_of_children() - before < 1


def cpu_of_children():
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", LIGHTNING_COMMANDS)
def test_help_of_a_command_shows_options_of_model_data_and_trainer(capsys, command):
    out = printed(capsys, command, "--help")
    model = "RobustFineTuning" if command in ("fit", "validate") else "ZeroShotEvaluation"
    for option in describe(model).all_options():
        assert f"--model.{option.name} " in out
    for data in ("CIFAR10", "STL10", "ImageFolder", "Synthetic"):
        assert f"datamodules.{data}: " in out
    for option in ("degradations", "batch_size", "limit", "root", "download", "class_names", "image_seed"):
        assert f"--data.{option} " in out
    assert "--trainer.devices" in out
    assert "--print_config" in out


def test_help_describes_the_classes_that_the_command_line_names(capsys):
    out = printed(capsys, "fit", "--config", "finetune/linear", "--help")
    assert "bench.LinearCorrection" in out
    assert "--model.ridge" in out
    assert "--model.learning_rate" not in out
    assert "--data.image_seed" in printed(capsys, "test", "--data=datamodules.Synthetic", "--help")


def test_described_options_are_those_of_the_classes():
    import bench
    import datamodules

    for package in (bench, datamodules):
        for name in package.__all__:
            real = getattr(package, name)
            if not (isinstance(real, type) and hasattr(real, "prepare_data")):
                continue
            accepted = {}
            for cls in real.__mro__:
                if cls.__module__.startswith(package.__name__) and "__init__" in vars(cls):
                    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
                        if parameter.kind is not parameter.VAR_KEYWORD:
                            accepted.setdefault(parameter.name, parameter.default is not parameter.empty)
                    if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values()):
                        break
            described = {option.name: option.default is not None for option in describe(name).all_options()}
            assert described == accepted, name
            assert all(option.text for option in describe(name).all_options()), name


def test_described_options_of_the_trainer_are_those_it_has():
    from lightning.pytorch import Trainer

    options = describe_trainer().options
    assert [option.name for option in options] == list(inspect.signature(Trainer.__init__).parameters)[1:]
    assert sum(bool(option.text) for option in options) > 35


def test_version_names_the_project(capsys):
    assert printed(capsys, "--version").startswith("clip-compression-bench ")


@pytest.mark.parametrize(("typed", "meant"), [("tset", "test"), ("reprot", "report"), ("predic", "predict")])
def test_a_misspelt_command_gets_a_suggestion(capsys, typed, meant):
    with pytest.raises(SystemExit, match="2"):
        main([typed])
    [line] = capsys.readouterr().err.splitlines()
    assert f"did you mean {meant}?" in line
