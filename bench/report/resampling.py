"""An encoder's precision, bytes and bits in every encoded view, of all images and of bootstrap samples of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.report.groups import Entry
from bench.runs.folder import load_run
from bench.runs.images import Columns, read_sizes
from bench.statistics.rate_curves import Floats, resampled_means
from datamodules.degradations import ORIGINAL


@dataclass(frozen=True)
class Resampled:
    """Means over images by view; in each the first is that of all images, the others are of bootstrap samples.

    Attributes:
        precision: float64 [1 + R], also of the original.
        encoded_bytes: float64 [1 + R].
        bits_per_pixel: float64 [1 + R].
        problem: Why there are no bootstrap samples, so that R is 0; empty if there are.
    """

    precision: Mapping[str, Floats]
    encoded_bytes: Mapping[str, Floats]
    bits_per_pixel: Mapping[str, Floats]
    problem: str = ""

    def drop(self, view: str) -> Floats:
        """Precision of the original minus that of a view, of the same images: [1 + R]."""
        return self.precision[ORIGINAL] - self.precision[view]


def resample(entry: Entry) -> Resampled:
    """Resample the images of an encoder, from the per-image tables of its runs."""
    try:
        return _from_images(entry)
    except FileNotFoundError:
        return _from_means(entry, "no images.csv beside a result file")
    except (OSError, ValueError) as error:
        return _from_means(entry, " ".join(str(error).split()))


def _from_images(entry: Entry) -> Resampled:
    """Read and resample.

    Raises:
        ValueError: A table is damaged, or two tables are of other images.
        OSError: A table cannot be read.
    """
    tables: dict[str, dict[str, Columns]] = {}
    fingerprints = set()
    for run in {str(cell.run.path): cell.run for cell in entry.cells.values()}.values():
        fingerprint, tables[str(run.path)] = read_sizes(load_run(run.path))
        fingerprints.add(fingerprint)
    if len(fingerprints) > 1:
        raise ValueError("its views were measured by several runs, whose images.csv have other indices or labels")
    columns = {
        (view, name): values
        for view, cell in entry.cells.items()
        for name, values in tables[str(cell.run.path)][view].items()
        if view in entry.bits or (view, name) == (ORIGINAL, "correct")
    }
    means = dict(zip(columns, resampled_means(np.stack(list(columns.values()), axis=1)).T, strict=True))
    precision, encoded_bytes, bits_per_pixel = (
        {view: values for (view, column), values in means.items() if column == name}
        for name in ("correct", "encoded_bytes", "bits_per_pixel")
    )
    return Resampled(precision, encoded_bytes, bits_per_pixel)


def _from_means(entry: Entry, problem: str) -> Resampled:
    known = {view: cell for view, cell in entry.cells.items() if view in entry.bits}
    return Resampled(
        precision={view: np.array([cell.precision]) for view, cell in entry.cells.items()},
        encoded_bytes={view: np.array([cell.result.means["encoded_bytes"]]) for view, cell in known.items()},
        bits_per_pixel={view: np.array([entry.bits[view]]) for view in known},
        problem=problem,
    )
