"""What Integrated Gradients found about the images of a run, as tables and as a summary."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor


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
        statistics: By name, see `bench.attribution.statistics`; NaN where undefined.
    """

    total: float
    loss_difference: float
    residual: float
    evaluations: int
    error_estimate: float
    converged: bool
    statistics: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """One image.

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


_NUMBERS = ("total", "loss_difference", "residual", "evaluations", "error_estimate", "converged")
_TITLES = {"total": "ig"}


def explanations_csv(explanations: Sequence[Explanation], class_names: Sequence[str]) -> str:
    """One line per image: the columns of Tables 1 to 6 of Chen, Namboodiri and Padget (2023), and what checks them.

    Columns are `index`, `label`, `<quantity>/<view>`. Floats have nine digits, which is float32 without loss.

    Args:
        explanations: At least one, all of the same views.
        class_names: By label.
    """
    first = explanations[0]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = [f"{column}/{view}" for column in ("predicted", "score") for view in first.scores]
    header += [f"{_TITLES.get(column, column)}/{view}" for column in _NUMBERS for view in first.views]
    writer.writerow(["index", "label", *header])
    for image in explanations:
        numbers = [getattr(view, column) for column in _NUMBERS for view in image.views.values()]
        writer.writerow(
            [
                image.index,
                class_names[image.label],
                *(class_names[prediction] for prediction in image.predictions.values()),
                *(_cell(number) for number in [*image.scores.values(), *numbers]),
            ]
        )
    return text.getvalue()


def _cell(number: float | int | bool) -> str:
    if isinstance(number, float):
        return "" if number != number else f"{number:.9g}"
    return str(int(number))


def explanations_markdown(explanations: Sequence[Explanation], class_names: Sequence[str]) -> str:
    """The columns of Tables 1 to 6 of the paper as a Markdown table, and the largest residual of each line.

    Args:
        explanations: At least one, all of the same views.
        class_names: By label.
    """
    first = explanations[0]
    header = ["image", "label"]
    header += [f"{column} {view}" for column in ("predicted", "score") for view in first.scores]
    header += [*(f"IG {view}" for view in first.views), "residual"]
    rows = [header, ["---"] * len(header)]
    for image in explanations:
        rows.append(
            [
                str(image.index),
                class_names[image.label],
                *(class_names[prediction] for prediction in image.predictions.values()),
                *(f"{score:.4f}" for score in image.scores.values()),
                *(f"{view.total:.4f}" for view in image.views.values()),
                f"{max(view.residual for view in image.views.values()):.1e}",
            ]
        )
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def columns(explanations: Sequence[Explanation], view: str) -> dict[str, Tensor]:
    """Everything numeric about one view: float64 [n] by name, statistics included, NaN where undefined."""
    views = [image.views[view] for image in explanations]
    numbers = {
        _TITLES.get(name, name): [getattr(one, name) for one in views] for name in _NUMBERS if name != "converged"
    }
    statistics = {name: [one.statistics[name] for one in views] for name in views[0].statistics}
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in {**numbers, **statistics}.items()}


def summary(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """What the result record says: per view means over images, the spread of the residual, and every image's numbers.

    Means leave out images for which a statistic is undefined.
    """
    views = {}
    for view in explanations[0].views:
        values = columns(explanations, view)
        views[view] = {
            "mean": {name: float(column.nanmean()) for name, column in values.items()},
            "residual": residual_spread(values["residual"]),
            "not_converged": sum(not image.views[view].converged for image in explanations),
            "per_image": {name: column.tolist() for name, column in values.items()},
        }
    everything = torch.tensor([view.residual for image in explanations for view in image.views.values()])
    return {
        "residual": residual_spread(everything),
        "evaluations": sum(view.evaluations for image in explanations for view in image.views.values()),
        "indices": [image.index for image in explanations],
        "views": views,
    }


def residual_spread(residual: Tensor) -> dict[str, float]:
    """Median and 95th percentile, in nats.

    >>> residual_spread(torch.tensor([0.0, 0.5, 1.0]))
    {'median': 0.5, 'percentile_95': 0.95}
    """
    median, high = residual.double().quantile(torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
    return {"median": median, "percentile_95": round(high, 12)}
