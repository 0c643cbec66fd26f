"""Result files as users read them: JSON, by key."""

import json
from pathlib import Path

from bench.metrics import METRICS


def read_record(folder: Path) -> dict:
    """The `results.json` in a run's folder."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def repeatable(record: dict) -> dict:
    """The metrics of a record by view, without those that another run of the same has otherwise."""
    noisy = {metric.name for metric in METRICS if metric.noisy}
    return {
        view: {name: value for name, value in metrics.items() if name not in noisy}
        for view, metrics in record["metrics"].items()
    }
