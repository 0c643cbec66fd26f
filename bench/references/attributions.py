"""The attributions that Chen, Namboodiri and Padget (2023) print, and a run's beside them, line by line."""

from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.paper import PRETRAINED, VIEWS, canonical_encoder
from bench.references.sources import read_data
from bench.runs.attributions import UNREADABLE, read_attribution_table
from bench.runs.folder import FinishedRun

if TYPE_CHECKING:
    import pandas as pd

_AS_RELEASED: dict[str, Any] = {
    "baseline": "jpeg-100",
    "rule": {"name": "Trapezoid", "n": 50},
    "mean": [0.0, 0.0, 0.0],
    "templates": ["This is a image of a {}."],
}
"""What the authors' released code does, which `configs/paper_ig.yaml` follows."""


@dataclass(frozen=True)
class PrintedAttribution:
    """One line of Tables 1 to 6; which image it is of, the paper does not say.

    Attributes:
        where: The table.
        encoder: One of `bench.paper.ENCODERS`.
        data: Name of the data set.
        label: True class.
        predicted: Predicted class, in the order of `bench.paper.VIEWS`.
        score: Probability of the true class in [0, 1], in the order of `bench.paper.VIEWS`.
        ig: Sum of the attribution in nats, for the three degraded views; positive where compression raised the loss, as
            in the printed tables (Equation 4 has the opposite sign).
        misprint: What in this line cannot be as printed; empty where nothing is known.
    """

    where: str
    encoder: str
    data: str
    label: str
    predicted: tuple[str, ...]
    score: tuple[float, ...]
    ig: tuple[float, ...]
    misprint: str = ""

    def residual(self, place: int) -> float:
        """What a printed sum lacks for completeness: |IG - ln(p(original) / p(view))| in nats.

        NaN where a score is printed as 0, and in a line with a known misprint.

        Args:
            place: Of the degraded view, from 0.
        """
        before, after = self.score[0], self.score[place + 1]
        return (
            float("nan") if self.misprint or not before or not after else abs(self.ig[place] - np.log(before / after))
        )


@cache
def printed_attributions() -> tuple[PrintedAttribution, ...]:
    """All 44 lines, table by table."""
    return tuple(
        PrintedAttribution(
            table["where"], table["encoder"], table["data"], label, tuple(predicted), tuple(score), tuple(ig), *misprint
        )
        for table in read_data("paper")["attributions"]
        for label, predicted, score, ig, *misprint in table["lines"]
    )


def find_attributions(encoder: str, data: str) -> tuple[PrintedAttribution, ...]:
    """The printed attributions of an encoder, spelt in any way, on a data set; none is an empty tuple."""
    name = canonical_encoder(encoder)
    return tuple(line for line in printed_attributions() if (line.encoder, line.data) == (name, data))


def settings(run: FinishedRun) -> str:
    """In what a run's attributions differ from those of the released code; empty where in nothing."""
    found = {
        "baseline": (run.record.attribution or {}).get("baseline"),
        "rule": (run.record.attribution or {}).get("rule"),
        "mean": run.record.model.further.get("mean"),
        "templates": list(run.record.model.templates),
    }
    return ", ".join(f"another {name}" for name, value in _AS_RELEASED.items() if found[name] != value)


def compare_attributions(label: str, run: FinishedRun) -> "pd.DataFrame":
    """A row per printed line and degraded view for a run that explained images of a table's labels, in its order.

    Columns: `label`, `where`, `line` (from 1), `class`, `view`, `printed` and `measured` in nats, `difference`
    (measured minus printed), `same_sign`, `same_prediction`, `printed_residual` and `measured_residual` in nats, and
    `settings`: in what the run differs from the authors' released code.

    Args:
        label: Of the model.
        run: Any; without attributions, or of others than the paper's encoders and data sets, there is no row.
    """
    import pandas as pd

    lines = find_attributions(run.record.model.encoder, run.record.data.name)
    rows: list[dict[str, Any]] = []
    if run.record.attribution is None or run.record.model.pretrained != PRETRAINED or not lines:
        return pd.DataFrame(rows)
    try:
        wide = read_attribution_table(run.folder.attribution_table, label="str")
    except UNREADABLE:
        return pd.DataFrame(rows)
    differs = settings(run)
    for _, table in groupby(lines, key=lambda line: line.where):
        same = list(table)
        if "label" in wide and [line.label for line in same] == wide["label"].tolist():
            rows += [_row(label, line, place, wide, differs) for place in _places(wide) for line in enumerate(same)]
    return pd.DataFrame(rows)


def _places(wide: "pd.DataFrame") -> list[int]:
    return [place for place, view in enumerate(VIEWS[1:]) if f"ig/{view}" in wide]


def _row(label: str, line: tuple[int, PrintedAttribution], place: int, wide: "pd.DataFrame", differs: str) -> Any:
    import pandas as pd

    number, printed = line
    view, found = VIEWS[place + 1], wide.iloc[number]
    measured, residual = (
        float(pd.to_numeric(found.get(f"{name}/{view}"), errors="coerce")) for name in ("ig", "residual")
    )
    predicted = found.get(f"predicted/{view}")
    return {
        "label": label,
        "where": printed.where,
        "line": number + 1,
        "class": printed.label,
        "view": view,
        "printed": printed.ig[place],
        "measured": measured,
        "difference": measured - printed.ig[place],
        "same_sign": int(np.sign(measured) == np.sign(printed.ig[place])),
        "same_prediction": int(predicted == printed.predicted[place + 1]),
        "printed_residual": printed.residual(place),
        "measured_residual": residual,
        "settings": differs,
    }
