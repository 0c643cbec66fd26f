"""An axis that is found: the weights that the fits of earlier steps leave, to be measured or to be averaged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.command_line.config_options import callback_arguments
from bench.finetuning.interpolation import BEST
from bench.runs.provenance import COMPANION_MAKERS
from bench.sweep.axes import AxisValue, agrees, entry_of_labels, label_of, labels_by_axis, short
from bench.sweep.cells import PRETRAINED, Cell, TunedWeights, names_class
from datamodules.errors import UserError

SHARE = "share"
"""The axis that tells weights of one fit apart: their share of the tuned ones."""

ORIGINAL = "original"
"""The label of the weights that fits were tuned from."""

_STEP, _SHARES, _OVER = "weights_of", "shares", "over"
_MODEL = ("encoder", "pretrained", "activation")
_MEAN = "mean"
_FEWEST = 2  # weights that have a mean


def is_found(values: Any) -> bool:
    """Whether what is written of an axis asks for what another step leaves."""
    return isinstance(values, dict) and _STEP in values


@dataclass(frozen=True)
class Found:
    """What an axis asks of earlier steps.

    What fits export is what their configurations say, so that it is known before they are done.

    Args:
        file: Of the sweep, for messages.
        axis: Its name.
        asked: `weights_of`: the name of an earlier step of fits, or a list of such; `shares`: a list of the shares of
            the tuned weights that are wanted, or a mapping of each to labels of the fits that are wanted at it; all
            that are exported if it is left out. To average: `over`, an axis of the fits.
        steps: Cells of the earlier steps by name.

    Raises:
        UserError: From every method: it asks for what there is not.
    """

    file: Path
    axis: str
    asked: Mapping[str, Any]
    steps: Mapping[str, Sequence[Cell]]

    def measured(self) -> list[AxisValue]:
        """The original of every encoder that was tuned, then the weights that each fit exports, the tuned ones first.

        Labels are those of the fit, and the share.
        """
        self._check_keys(_STEP, _SHARES)
        values = []
        for fit in self.fits:
            for share in self._shares_of(fit):
                labels = {**fit.labels, SHARE: f"{SHARE}-{share:g}"}
                found = {short(self.axis): "-".join(labels.values())}
                weights = TunedWeights(fit, share, self._tested_as(fit))
                values.append(AxisValue(labels, self._models[fit.name], (weights,), found))
        return [*self._originals(), *values]

    def averaged(self) -> list[AxisValue]:
        """Two or more fits that differ in one axis alone, with the weights that each exports at full share.

        Labels are those of the fits, in that axis `mean`.
        """
        self._check_keys(_STEP, _OVER)
        over = short(str(self.asked.get(_OVER)))
        if not all(over in fit.labels for fit in self.fits):
            axes = ", ".join(self.fits[0].labels)
            raise self._error(f"name the axis of the fits to average over with `{_OVER}`, one of {axes}")
        groups: dict[tuple[tuple[str, str], ...], list[Cell]] = {}
        for fit in self.fits:
            if self._tested_as(fit) != PRETRAINED:
                continue  # `bench.WeightAverage` averages encoders
            labels = {**fit.labels, over: _MEAN}
            groups.setdefault(tuple(labels.items()), []).append(fit)
        values = [
            AxisValue(dict(labels), self._models[fits[0].name], tuple(TunedWeights(fit, 1.0) for fit in fits))
            for labels, fits in groups.items()
            if len(fits) >= _FEWEST
        ]
        if not values:
            raise self._error(f"no two fits differ in {over} alone, so there is nothing to average")
        return values

    @cached_property
    def fits(self) -> list[Cell]:
        """Cells of the steps that are named."""
        names = self.asked[_STEP] if isinstance(self.asked[_STEP], list) else [self.asked[_STEP]]
        known = [step for step, cells in self.steps.items() if cells[0].command == "fit"]
        for name in names or [""]:
            if name not in known:
                there = f"choose from {', '.join(known)}" if known else "put one in front of it"
                raise self._error(f"{str(name)[:100]!r} is no earlier step of fits: {there}")
        return [cell for name in names for cell in self.steps[name]]

    @cached_property
    def _configs(self) -> dict[str, dict[str, Any]]:
        return {fit.name: fit.expected() for fit in self.fits}

    @cached_property
    def _models(self) -> dict[str, dict[str, Any]]:
        """Options of a run on what a fit tunes, by its name."""
        return {name: _model_of(config) for name, config in self._configs.items()}

    def _tested_as(self, fit: Cell) -> str:
        model = self._configs[fit.name].get("model")
        name = model.get("class_path") if isinstance(model, dict) else None
        kinds = (kind for kind, maker in COMPANION_MAKERS.items() if names_class(name, maker))
        return next((f"model.{kind}" for kind in kinds), PRETRAINED)

    def _originals(self) -> Iterator[AxisValue]:
        different = list({str(model): model for model in self._models.values()}.values())
        for model in different:
            label = ORIGINAL if len(different) == 1 else f"{ORIGINAL}-{label_of(self.axis, model.get('model.encoder'))}"
            yield AxisValue({short(self.axis): label}, model)

    def _shares_of(self, fit: Cell) -> list[float]:
        exported = _exported(fit, self._configs[fit.name])
        if self._wanted is None:
            return exported
        wanted = [share for share, entry in self._wanted.items() if agrees(fit.labels, entry)]
        if lacking := [share for share in wanted if share not in exported]:
            there = ", ".join(f"{share:g}" for share in exported)
            raise self._error(
                f"{fit.name} exports no share {lacking[0]:g}, only {there}: add it to `export` of "
                f"callbacks.FineTuningWriter in {fit.config}"
            )
        return wanted

    @cached_property
    def _wanted(self) -> dict[float, dict[str, list[str]]] | None:
        shares = self.asked.get(_SHARES)
        if shares is None:
            return None
        listed = shares if isinstance(shares, list) else []
        entries = shares if isinstance(shares, dict) else {share: {} for share in listed if _is_share(share)}
        if not entries or len(entries) < len(shares) or not all(map(_is_share, entries)):
            raise self._error(f"`{_SHARES}` has to be a list of shares from 0 to 1, such as [1, 0.5]")
        known = labels_by_axis(fit.labels for fit in self.fits)
        return {
            float(share): entry_of_labels(self.file, _SHARES, entry or {}, known) for share, entry in entries.items()
        }

    def _check_keys(self, *known: str) -> None:
        if unknown := [key for key in self.asked if key not in known]:
            raise self._error(f"{str(unknown[0])[:100]!r} is unknown, choose from {', '.join(known)}")
        for taken in (short(self.axis), SHARE):
            if any(taken in fit.labels for fit in self.fits):
                raise self._error(f"{taken} is an axis of {self.asked[_STEP]}, too: rename it there")

    def _error(self, problem: str) -> UserError:
        return UserError(f"{self.file}: axis {self.axis!r}: {problem}")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _model_of(config: Mapping[str, Any]) -> dict[str, Any]:
    model = config.get("model")
    arguments = model.get("init_args", model) if isinstance(model, dict) else {}
    return {f"model.{name}": arguments[name] for name in _MODEL if name in arguments}


def _exported(fit: Cell, config: Mapping[str, Any]) -> list[float]:
    """The shares of the tuned weights that a fit exports, as its configuration says: 1, then the others by decrease.

    Raises:
        UserError: It exports none, or one that only the fit itself finds.
    """
    if (writer := callback_arguments(config, "FineTuningWriter")) is None:
        raise UserError(f"{fit.config} leaves no weights: give it callbacks.FineTuningWriter")
    listed = writer.get("export") or []
    if BEST in listed:
        raise UserError(f"{fit.config} exports {BEST!r}, which only the fit finds: list shares in its place")
    return sorted({1.0, *(float(share) for share in listed if _is_share(share))}, reverse=True)
