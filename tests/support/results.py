"""Result files as users read them: JSON, by key."""

import json
from pathlib import Path


def read_record(folder: Path) -> dict:
    """The `results.json` in a run's folder."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))
