"""An axis that is found: the weights that the fits of an earlier step leave, and what these were tuned from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.finetuning.interpolation import BEST
from bench.sweep.axes import AxisValue, agrees, entry_of_labels, label_of, labels_by_axis, short
from bench.sweep.cells import Cell, TunedWeights
from datamodules.errors import UserError

SHARE = "share"
"""The axis that tells weights of one fit apart: their share of the tuned ones."""

ORIGINAL = "original"
"""The label of the weights that fits were tuned from."""

_KEYS = ("weights_of", "shares")
_MODEL = ("encoder", "pretrained", "activation")
_Shares = Mapping[float, Mapping[str, Sequence[str]]]


def is_found(values: Any) -> bool:
    """Whether what is written of an axis asks for what another step leaves."""
    return isinstance(values, dict) and _KEYS[0] in values


def found_values(
    file: Path, axis: str, asked: Mapping[str, Any], steps: Mapping[str, Sequence[Cell]]
) -> list[AxisValue]:
    """The original of every encoder that was tuned, then for each fit the weights that it exports, the tuned first.

    Their labels are those of the fit, and the share: what a fit exports is what its configuration says, so that they
    are known before it is done.

    Args:
        file: Of the sweep, for messages.
        axis: Its name.
        asked: `weights_of`: the name of an earlier step of fits; `shares`: a list of those wanted, or a mapping of each
            to labels of the fits whose weights are wanted at it; all that are exported if it is left out.
        steps: Cells of the earlier steps by name.

    Raises:
        UserError: There is no such step of fits, or one of them exports no such share.
    """
    if unknown := [key for key in asked if key not in _KEYS]:
        raise UserError(f"{file}: axis {axis!r}: {unknown[0]!r} is unknown, choose from {', '.join(_KEYS)}")
    name = asked["weights_of"]
    fits = [cell for cell in steps.get(str(name), ()) if cell.command == "fit"]
    if not fits:
        names = [step for step, cells in steps.items() if cells[0].command == "fit"]
        there = f"choose from {', '.join(names)}" if names else "put one in front of it"
        raise UserError(f"{file}: axis {axis!r}: {str(name)[:100]!r} is no earlier step of fits: {there}")
    if short(axis) in fits[0].labels or SHARE in fits[0].labels:
        raise UserError(f"{file}: axis {axis!r} and `{SHARE}` are no names for axes of {name}: choose others there")
    shares = _wanted(file, axis, asked.get("shares"), fits)
    models = {fit.name: fit.expected() for fit in fits}
    tuned = [value for fit in fits for value in _tuned(file, axis, fit, models[fit.name], shares)]
    return [*_originals(axis, map(_model_of, models.values())), *tuned]


def _wanted(file: Path, axis: str, shares: Any, fits: Sequence[Cell]) -> _Shares | None:
    if shares is None:
        return None
    listed = shares if isinstance(shares, list) else []
    entries = shares if isinstance(shares, dict) else {share: {} for share in listed if _is_share(share)}
    if not entries or len(entries) < len(shares) or not all(map(_is_share, entries)):
        raise UserError(f"{file}: axis {axis!r}: `shares` has to be a list of shares from 0 to 1, such as [1, 0.5]")
    known = labels_by_axis(fit.labels for fit in fits)
    return {float(share): entry_of_labels(file, "shares", entry or {}, known) for share, entry in entries.items()}


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _model_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a test that measures what the configuration of a fit tunes."""
    model = config.get("model")
    arguments = model.get("init_args", model) if isinstance(model, dict) else {}
    return {f"model.{name}": arguments[name] for name in _MODEL if name in arguments}


def _originals(axis: str, models: Iterable[dict[str, Any]]) -> Iterator[AxisValue]:
    different = list({str(model): model for model in models}.values())
    for model in different:
        label = ORIGINAL if len(different) == 1 else f"{ORIGINAL}-{label_of(axis, model.get('model.encoder'))}"
        yield AxisValue({short(axis): label}, model)


def _tuned(file: Path, axis: str, fit: Cell, config: Mapping[str, Any], shares: _Shares | None) -> Iterator[AxisValue]:
    exported = _exported(fit, config)
    wanted = exported if shares is None else [share for share, entry in shares.items() if agrees(fit.labels, entry)]
    if lacking := [share for share in wanted if share not in exported]:
        raise UserError(
            f"{file}: axis {axis!r}: {fit.name} exports no share {lacking[0]:g}, only "
            f"{', '.join(f'{share:g}' for share in exported)}: add it to `export` of callbacks.FineTuningWriter in "
            f"{fit.config}"
        )
    for share in wanted:
        labels = {**fit.labels, SHARE: f"{SHARE}-{share:g}"}
        weights = TunedWeights(fit, share)
        yield AxisValue(labels, _model_of(config), weights, {short(axis): "-".join(labels.values())})


def _exported(fit: Cell, config: Mapping[str, Any]) -> list[float]:
    """The shares of the tuned weights that a fit exports, as its configuration says: 1, then the others by decrease.

    Raises:
        UserError: It exports none, or one that only the fit itself finds.
    """
    trainer = config.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    for callback in callbacks if isinstance(callbacks, list) else []:
        if isinstance(callback, dict) and str(callback.get("class_path")).endswith("FineTuningWriter"):
            listed = (callback.get("init_args") or {}).get("export") or []
            if BEST in listed:
                raise UserError(f"{fit.config} exports {BEST!r}, which only the fit finds: list shares in its place")
            return sorted({1.0, *(float(share) for share in listed if _is_share(share))}, reverse=True)
    raise UserError(f"{fit.config} leaves no weights: give it callbacks.FineTuningWriter")
