"""The sweep that a repair is: two configurations and the grids over them, as files that a user can go on with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.command_line.config_options import as_mapping, callback_arguments, taker, with_options
from bench.command_line.configs import SUFFIX, find_config, read_config
from bench.command_line.signatures import describe, names
from bench.repair.held_out import HeldOut, held_out
from bench.runs.files import write_atomically
from datamodules.errors import UserError

FITS, TESTS = "fits", "tests"
TUNED = "tuned"
"""The arm that is no control."""

_STUDY, _FIT, _CONTROL, _TEST = (f"{name}{SUFFIX}" for name in ("study", "fit", "control", "test"))
_ENCODER = ("encoder", "pretrained", "activation", "templates")
_OF_TESTS = ("split", "limit", "every", "indices", "degradations", "batch_size", "training_views")
_OF_FITS, _CALLBACKS = "data.training_views", "trainer.callbacks."
_DEFAULT_FIT = "finetune/consistency"
_CLOSED_FORM = "LinearCorrection"  # which makes no steps
_ADAPTS = "TestTimeAdaptation"  # whose tests depend on neighbours and order
_LEAST_STEPS = 200
_SUBTRACTED = "control: the same fit on the same images without compression, whose gain is subtracted"
_UNMOVED = "control: the encoder before the fit, since one without labels that sees no compressed image learns nothing"


@dataclass(frozen=True)
class Repair:
    """What is to be done.

    Attributes:
        files: Content by name, all in the folder of the repair.
        sentences: What a reader is told about it.
    """

    files: Mapping[str, Mapping[str, Any]]
    sentences: Sequence[str]

    def write(self, place: Path) -> Path:
        """Write the files into a folder; the path of the sweep among them.

        Raises:
            OSError: The folder cannot be written.
        """
        place.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            write_atomically(place / name, f"# Written by `lightning repair`.\n{text}")
        return place / _STUDY


def plan(config: str, fit: str | None, options: Mapping[str, Any], seeds: int, output: Path) -> Repair:
    """What a repair of a configuration's encoder on its images consists of.

    Args:
        config: A configuration of `lightning test`: a name or a file.
        fit: A configuration of `lightning fit`, whose encoder and images are replaced by those; None takes the one that
            is called like the first, with `_finetune` behind it, or else `finetune/consistency`.
        options: Of model, data and trainer, by dotted name, for whatever of fits and tests takes them; behind `fits` or
            `tests` for those alone.
        seeds: Number of fits with another seed each.
        output: Folder of the repair.

    Raises:
        UserError: A configuration is of another kind, or the images cannot be had.
    """
    tested_file = find_config(config)
    fitted_file = _fit_of(tested_file) if fit is None else find_config(fit)
    own = {
        step: {key.removeprefix(f"{step}."): value for key, value in options.items() if key.startswith(f"{step}.")}
        for step in (FITS, TESTS)
    }
    shared = {key: value for key, value in options.items() if key.partition(".")[0] not in own}
    tests, fits = (_checked(read_config(file), str(file)) for file in (tested_file, fitted_file))
    if "encoder" not in _arguments(tests["model"]) or "objective" in _arguments(tests["model"]):
        raise UserError(
            f"{config!r} is none of `lightning test`: give one that is, such as demo, cifar10 or image_folder"
        )
    if _class(tests["model"]) == _ADAPTS:
        raise UserError(
            f"{config!r} adapts the encoder while it is tested, which would hide what a fit gains: give the "
            "configuration of an ordinary test, such as demo, cifar10 or image_folder"
        )
    _require_taken(shared, tests, fits)
    tests = with_options(tests, _taken(shared, tests, without=(_OF_FITS,)), config)
    fits = _fitted(fits, tests, shared)
    fits = with_options(fits, own[FITS], str(fitted_file))
    images = _images(fits, tests)
    _arguments(tests["data"]).update(images.options)
    tests = with_options(tests, own[TESTS], config)
    epochs, more = _epochs(fits, images, fixed="trainer.max_epochs" in own[FITS] | shared)
    fits["trainer"]["max_epochs"] = epochs
    arms = {TUNED: _FIT}
    files = {_FIT: fits, _TEST: tests}
    if controlled := _learns_from_originals(fits["model"]):
        arms["control"] = _CONTROL
        files[_CONTROL] = _control(fits)
    study = {"output": str(output), "steps": _steps(seeds, arms)}
    said = [f"{fitted_file.stem} of {_budget(fits, seeds)}", images.sentence, *more]
    return Repair({_STUDY: study, **files}, [*said, _SUBTRACTED if controlled else _UNMOVED])


def _learns_from_originals(model: dict[str, Any]) -> bool:
    """Whether a fit that sees no compressed image may change the encoder: see `Objective.label_free`."""
    from bench.command_line.instances import instance
    from bench.finetuning.objectives import Objective

    arguments = _arguments(model)
    if _class(model) == _CLOSED_FORM:
        return False
    if arguments.get("weight_decay") != 0 or "objective" not in arguments:
        return True
    objective: Objective = instance(Objective, "objective", arguments["objective"])
    return not objective.label_free


def _steps(seeds: int, arms: Mapping[str, str]) -> dict[str, Any]:
    grid = {
        "seed": {seed: {"seed_everything": seed, "data.seed": seed} for seed in range(seeds)},
        "arm": {arm: {"config": file} for arm, file in arms.items()},
    }
    return {
        FITS: {"command": "fit", "options": {"ckpt_path": "last"}, "grid": grid},
        TESTS: {"options": {"config": _TEST}, "grid": {"tuned": {"weights_of": FITS, "shares": [1]}}},
    }


def _control(fits: dict[str, Any]) -> dict[str, Any]:
    """The same fit without compression, under a name that reports can tell from it."""
    control = with_options(fits, {"data.training_views.clean": 1.0}, "the fit")
    if (writer := callback_arguments(control, "FineTuningWriter")) is not None:
        writer["name"] = f"{writer.get('name', 'encoder')}-control"
    return control


def _budget(fits: dict[str, Any], seeds: int) -> str:
    model, epochs = _arguments(fits["model"]), fits["trainer"]["max_epochs"]
    encoder, rate = str(model["encoder"]), model.get("learning_rate")
    parts = [f"{epochs} epoch{'s' * (epochs > 1)}", f"{seeds} seed{'s' * (seeds > 1)}"]
    parts += [] if rate is None else [f"learning rate {rate} (--fits.model.learning_rate)"]
    return f"{Path(encoder).stem if encoder.endswith('.json') else encoder}: {', '.join(parts)}"


def _checked(content: dict[str, Any], name: str) -> dict[str, Any]:
    parts = [content.get(part) for part in ("model", "data")]
    if not all(isinstance(part, dict) and "class_path" in part for part in parts):
        raise UserError(f"{name!r} names no model and data with a class_path: give a configuration that does")
    return {"trainer": {}, **content}


def _fit_of(tested: Path) -> Path:
    own = tested.with_name(f"{tested.stem}_finetune{SUFFIX}")
    return find_config(str(own) if own.exists() else _DEFAULT_FIT)


def _class(part: dict[str, Any]) -> str:
    return str(part["class_path"]).rpartition(".")[2]


def _arguments(part: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = part.setdefault("init_args", {})
    return arguments


def _fitted(fits: dict[str, Any], tests: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the fit with the encoder and the images of the tests."""
    asked = _arguments(tests["model"])
    _arguments(fits["model"]).update({name: asked[name] for name in _ENCODER if name in asked})
    _arguments(fits["data"])
    same = fits["data"]["class_path"] == tests["data"]["class_path"]
    own, theirs = _arguments(fits["data"]), _arguments(tests["data"])
    chosen = {key: value for key, value in theirs.items() if key not in _OF_TESTS}
    if not same:
        kept = {"training_views", "validation_every", "batch_size", *({"degradations"} & theirs.keys())}
        own = {key: value for key, value in own.items() if key in kept}
        chosen |= {key: theirs[key] for key in ("limit", "every", "indices") if key in theirs}
    data = {"class_path": tests["data"]["class_path"], "init_args": {**own, **chosen}}
    typed = _taken(options, fits, without=("model", "data.split", "data.degradations"))
    return with_options({**fits, "data": data}, typed, "the fit")


def _require_taken(options: Mapping[str, Any], tests: dict[str, Any], fits: dict[str, Any]) -> None:
    """Refuse an option for both that the tests do not have, or that no callback takes."""
    known = names([describe(str(tests["model"]["class_path"]))])
    for option in options:
        group, _, name = option.partition(".")
        if group == "model" and known and name.partition(".")[0] not in known:
            raise UserError(f"--{option} is no option of a test: write --{FITS}.{option}")
        if option.startswith(_CALLBACKS) and not any(_taken({option: None}, config, ()) for config in (tests, fits)):
            raise UserError(f"--{option}: no callback of the fit or the test takes it")


def _taken(options: Mapping[str, Any], config: dict[str, Any], without: Sequence[str]) -> dict[str, Any]:
    """The options that a configuration takes, of callbacks those of one that it has.

    Args:
        options: By dotted name.
        config: The configuration.
        without: Groups or options that are left out.
    """
    callbacks = as_mapping(config.get("trainer")).get("callbacks") or []
    return {
        option: value
        for option, value in options.items()
        if not f"{option}.".startswith(tuple(f"{name}." for name in without))
        and (
            not option.startswith(_CALLBACKS)
            or taker(callbacks, option.removeprefix(_CALLBACKS).partition(".")[0]) is not None
        )
    }


def _images(fits: dict[str, Any], tests: dict[str, Any]) -> HeldOut:
    """Which images tests may have, of the data as fits take them."""
    from bench.command_line import data

    theirs = _arguments(tests["data"])
    asked = {key: value for key, value in _arguments(fits["data"]).items() if key != "training_views"}
    if "split" in theirs:
        asked["split"] = theirs["split"]
    return held_out(data.built(fits["data"]["class_path"], asked))


def _epochs(fits: dict[str, Any], images: HeldOut, *, fixed: bool) -> tuple[int, list[str]]:
    """Passes: those of the configuration, or more where that would be few steps; and what there is to say about it."""
    configured = int(fits["trainer"].get("max_epochs") or 1)
    if fixed or images.fitted is None or _class(fits["model"]) == _CLOSED_FORM:
        return configured, []
    steps = math.ceil(images.fitted / int(_arguments(fits["data"]).get("batch_size", 1)))
    epochs = max(configured, math.ceil(_LEAST_STEPS / max(1, steps)))
    if epochs == configured:
        return epochs, []
    return epochs, [
        f"{epochs} epochs instead of {configured}, since few images are few steps (--fits.trainer.max_epochs)"
    ]
