"""What Integrated Gradients found about the images of a run, as tables and as a summary."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from typing import Any

import torch
from torch import Tensor

from bench.attribution.quadrature import Quadrature
from bench.attribution.selection import Selection
from bench.attribution.spectra import PARTS, Spectrum
from bench.runs.table import inert, markdown_table
from datamodules.text import printable


@dataclass(frozen=True)
class ViewExplanation:
    """One degraded view of one image, compared with its baseline.

    Attributes:
        total: Sum of the attribution, in nats; positive where compression raised the loss.
        loss_difference: loss(view) - loss(baseline) in nats, in float32 whatever the run's precision.
        residual: |total - loss_difference|.
        evaluations: Gradients spent.
        error_estimate: Estimated relative L1 error of the map; NaN from rules that make no estimate.
        converged: Whether the estimate met the rule's tolerance.
        statistics: By name, see `bench.attribution.statistics` and `bench.attribution.spectra.PARTS`; NaN where
            undefined.
        spectrum: Nats by frequency and block; None of a view whose size is not that of its baseline.
    """

    total: float
    loss_difference: float
    residual: float
    evaluations: int
    error_estimate: float
    converged: bool
    statistics: Mapping[str, float]
    spectrum: Spectrum | None = None


@dataclass(frozen=True)
class Explanation:
    """What was found about one explained image, view by view.

    Attributes:
        index: Position in the source.
        label: True class.
        predictions: Predicted class by view, as the run measured it.
        scores: Probability of the true class in [0, 1] by view, as the run measured it.
        views: By degraded view.
    """

    index: int
    label: int
    predictions: Mapping[str, int]
    scores: Mapping[str, float]
    views: Mapping[str, ViewExplanation]


@dataclass(frozen=True)
class Column:
    """A number per image and view.

    Attributes:
        name: In tables, records and tags.
        attribute: Of `ViewExplanation`.
        unit: Empty for what has none.
        decimals: How people want it printed; negative for a power of ten.
        definition: A sentence.
    """

    name: str
    attribute: str
    unit: str
    decimals: int
    definition: str

    def of(self, view: ViewExplanation) -> float | int | bool:
        """The number."""
        value: float | int | bool = getattr(view, self.attribute)
        return value

    def text(self, view: ViewExplanation) -> str:
        """The number as people want it."""
        return f"{self.of(view):.{self.decimals}f}" if self.decimals >= 0 else f"{self.of(view):.{-self.decimals}e}"


COLUMNS = (
    Column("ig", "total", "nats", 4, "Sum of the attribution; positive where compression raised the loss."),
    Column("loss_difference", "loss_difference", "nats", 4, "loss(view) - loss(baseline), in float32."),
    Column("residual", "residual", "nats", -1, "|ig - loss_difference|, 0 for a complete attribution."),
    Column("evaluations", "evaluations", "gradients", 0, "Gradients spent."),
    Column("error_estimate", "error_estimate", "", -1, "Estimated relative L1 error of the map, if there is one."),
    Column("converged", "converged", "", 0, "1 where the estimate met the rule's tolerance, 0 elsewhere."),
)
"""All of them but the statistics, which `bench.attribution.statistics` declares."""

_IG, _RESIDUAL, _CONVERGED = COLUMNS[0], COLUMNS[2], COLUMNS[-1]


def explanations_csv(explanations: Sequence[Explanation], class_names: Sequence[str]) -> str:
    """One line per image: the columns of Tables 1 to 6 of Chen, Namboodiri and Padget (2023), and what checks them.

    Columns are `index`, `label`, `<quantity>/<view>`; the last quantities are the parts of `ig`, as they are called in
    `bench.attribution.spectra.PARTS`. Floats have nine digits, which is float32 without loss. No class
    name is one that a spreadsheet would take for a formula.

    Args:
        explanations: At least one, all of the same views.
        class_names: By label.
    """
    first = explanations[0]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = [f"{column}/{view}" for column in ("predicted", "score") for view in first.scores]
    header += [f"{column.name}/{view}" for column in COLUMNS for view in first.views]
    header += [f"{part}/{view}" for part in PARTS for view in first.views]
    writer.writerow(["index", "label", *header])
    for image in explanations:
        numbers = [column.of(view) for column in COLUMNS for view in image.views.values()]
        parts = [view.statistics.get(part, math.nan) for part in PARTS for view in image.views.values()]
        writer.writerow(
            [
                image.index,
                inert(class_names[image.label]),
                *(inert(class_names[prediction]) for prediction in image.predictions.values()),
                *(_cell(number) for number in [*image.scores.values(), *numbers, *parts]),
            ]
        )
    return text.getvalue()


def _cell(number: float | int | bool) -> str:
    if isinstance(number, float):
        return "" if number != number else f"{number:.9g}"
    return str(int(number))


def explanations_markdown(explanations: Sequence[Explanation], class_names: Sequence[str]) -> str:
    """The columns of Tables 1 to 6 of the paper as a Markdown table, a line per image and view, so that it is narrow.

    Args:
        explanations: At least one, all of the same views.
        class_names: By label.
    """
    rows = [["image", "true class", "view", "predicted", "score", "IG (nats)", "residual"]]
    for image in explanations:
        for view, score in image.scores.items():
            right = "\N{CHECK MARK}" if image.predictions[view] == image.label else "\N{BALLOT X}"
            cells = [view, f"{right} {printable(class_names[image.predictions[view]])}", f"{score:.4f}"]
            found = image.views.get(view)
            cells += ["", ""] if found is None else [f"{found.total:+.{_IG.decimals}f}", _RESIDUAL.text(found)]
            rows.append([str(image.index), printable(class_names[image.label]), *cells])
    return markdown_table(rows)


def spectra(explanations: Sequence[Explanation]) -> dict[str, dict[int, Spectrum]]:
    """By view and index of the image; nothing of views and images that have none."""
    found: dict[str, dict[int, Spectrum]] = {}
    for image in explanations:
        for name, view in image.views.items():
            if view.spectrum is not None:
                found.setdefault(name, {})[image.index] = view.spectrum
    return found


def columns(explanations: Sequence[Explanation], view: str) -> dict[str, Tensor]:
    """Everything numeric about one view: float64 [n] by name, statistics included, NaN where undefined."""
    views = [image.views[view] for image in explanations]
    numbers = {column.name: [column.of(one) for one in views] for column in COLUMNS if column is not _CONVERGED}
    statistics = {name: [one.statistics[name] for one in views] for name in views[0].statistics}
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in {**numbers, **statistics}.items()}


@dataclass(frozen=True)
class ViewSummary:
    """What was found about one view.

    Attributes:
        mean: Mean by column over the images where it is defined, NaN where it is for none.
        residual: Its median and 95th percentile in nats, by `median` and `percentile_95`.
        not_converged: Number of maps whose estimate missed the rule's tolerance.
        per_image: By column, in the order of the record's `indices`; NaN where undefined.
    """

    mean: Mapping[str, float]
    residual: Mapping[str, float]
    not_converged: int
    per_image: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class AttributionRecord:
    """What the result record says under `attribution`.

    Attributes:
        baseline: The view where the paths start.
        rule: Name and options of the quadrature.
        selection: Name and options of what chose the images.
        residual: Over all images and views, as in `ViewSummary`.
        evaluations: Gradients spent.
        indices: Positions in the source of the images, in the order they were chosen.
        views: By degraded view.
    """

    baseline: str
    rule: Mapping[str, Any]
    selection: Mapping[str, Any]
    residual: Mapping[str, float]
    evaluations: int
    indices: Sequence[int]
    views: Mapping[str, ViewSummary]

    @classmethod
    def of(
        cls, explanations: Sequence[Explanation], baseline: str, rule: Quadrature, selection: Selection
    ) -> "AttributionRecord":
        """Sum up at least one explanation."""
        maps = [view for image in explanations for view in image.views.values()]
        return cls(
            baseline=baseline,
            rule=_described(rule),
            selection=_described(selection),
            residual=residual_spread(torch.tensor([view.residual for view in maps])),
            evaluations=sum(view.evaluations for view in maps),
            indices=[image.index for image in explanations],
            views={view: _summed_up(explanations, view) for view in explanations[0].views},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; NaN stays NaN."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "AttributionRecord":
        """The inverse of `to_json`; null reads as NaN.

        Raises:
            KeyError, TypeError: It is not what `to_json` makes.
        """
        views = {
            view: ViewSummary(
                mean={name: _number(mean) for name, mean in found["mean"].items()},
                residual=dict(found["residual"]),
                not_converged=found["not_converged"],
                per_image={name: [_number(one) for one in column] for name, column in found["per_image"].items()},
            )
            for view, found in value["views"].items()
        }
        rest: dict[str, Any] = {field.name: value[field.name] for field in fields(cls) if field.name != "views"}
        return cls(**rest, views=views)

    def warning(self) -> str | None:
        """What has to be known before the numbers are used."""
        missed = sum(view.not_converged for view in self.views.values())
        if not missed:
            return None
        maps = len(self.indices) * len(self.views)
        return f"{missed} of {maps} maps hit the rule's cap before they met its tolerance: raise its max_points"


def _summed_up(explanations: Sequence[Explanation], view: str) -> ViewSummary:
    values = columns(explanations, view)
    return ViewSummary(
        mean={name: float(column.nanmean()) for name, column in values.items()},
        residual=residual_spread(values[_RESIDUAL.name]),
        not_converged=sum(not image.views[view].converged for image in explanations),
        per_image={name: column.tolist() for name, column in values.items()},
    )


def _described(choice: Quadrature | Selection) -> dict[str, Any]:
    return {"name": type(choice).__name__, **asdict(choice)}  # type: ignore[call-overload]  # all are dataclasses


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def residual_spread(residual: Tensor) -> dict[str, float]:
    """Median and 95th percentile, in nats.

    >>> residual_spread(torch.tensor([0.0, 0.5, 1.0]))
    {'median': 0.5, 'percentile_95': 0.95}
    """
    median, high = residual.double().quantile(torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
    return {"median": median, "percentile_95": round(high, 12)}
