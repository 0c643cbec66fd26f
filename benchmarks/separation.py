"""Do the statistics of attribution maps tell two encoders apart on the same images?

    lightning test --config configs/demo_ig.yaml --trainer.callbacks.images=First --trainer.callbacks.images.n=64
    (once more with --model.encoder configs/models/demo-vit.json --model.pretrained configs/models/demo-vit.safetensors)
    python -m benchmarks.separation runs/demo_ig/version_0 runs/demo_ig/version_1

Prints, per view and statistic, the mean of each run and the area under the ROC curve: the probability that a map of the
second run has the larger value; 0.5 says nothing, 0 and 1 separate perfectly. Needs scikit-learn, which the `tests`
extra brings.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from bench.runs.record import RunRecord
from bench.runs.table import align

_STATISTICS = (
    "mass_top_1", "mass_top_5", "mass_top_10", "gini", "neighbour_correlation", "patch_grid", "codec_grid",
    "positive_share",
)  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs=2, help="folders of two runs that explained the same images")
    records = [RunRecord.read(run) for run in parser.parse_args().runs]
    explained: list[dict[str, Any]] = [dict(record.attribution or {}) for record in records]
    if explained[0]["indices"] != explained[1]["indices"]:
        parser.error(
            "the runs explained different images: choose them alike, with bench.attribution.selection.First or Indices"
        )
    names = [record.model.encoder for record in records]
    print(f"{len(explained[0]['indices'])} images, {records[0].data.name}/{records[0].data.split}")
    for view in explained[0]["views"]:
        rows = [[view, *names, "AUC"]]
        for statistic in _STATISTICS:
            rows.append([statistic, *_compared([_values(run, view, statistic) for run in explained])])
        print(f"\n{align(rows)}")


def _values(run: dict[str, Any], view: str, statistic: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.array(run["views"][view]["per_image"][statistic], dtype=np.float64)
    return values[np.isfinite(values)]


def _compared(groups: list[np.ndarray[Any, np.dtype[np.float64]]]) -> list[str]:
    means = [f"{group.mean():.3f}" if group.size else "undefined" for group in groups]
    if not all(group.size for group in groups):
        return [*means, ""]
    second = np.repeat([0, 1], [group.size for group in groups])
    return [*means, f"{roc_auc_score(second, np.concatenate(groups)):.3f}"]


if __name__ == "__main__":
    main()
