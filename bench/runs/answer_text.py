"""What compression costs, in sentences and a table: what a reader of a run sees first."""

import math
from collections.abc import Mapping

from bench.metrics import METRICS, NOISE
from bench.runs.table import markdown_table, metric_rows
from bench.runs.view_record import ViewRecord
from datamodules.degradations import ORIGINAL


def cost(view: str, found: ViewRecord, images: int) -> str:
    """The drop of a view with Tango's (1998) interval, in points.

    >>> cost("jpeg-25", ViewRecord({}, 12, broken=9, repaired=3), 32)
    'jpeg-25 costs 18.8 points [-2.7, 39.0]'
    """
    from bench.statistics.paired import drop_interval  # SciPy takes a moment

    interval = drop_interval(found.broken, found.repaired, images)
    ends = ", ".join(f"{100 * end:.1f}" for end in (interval.low, interval.high))
    return f"{view} costs {100 * (found.broken - found.repaired) / images:.1f} points [{ends}]"


def answer_markdown(
    views: Mapping[str, ViewRecord], images: int, head: str, further: str = "", *, labelled: bool
) -> str:
    """What a run found, as Markdown.

    Args:
        views: By name, the original among them.
        images: Number of images.
        head: Which encoder on which data.
        further: A paragraph between the two tables.
        labelled: Whether the images have labels.
    """
    parts = [f"**{head}, {images:,} images**"]
    degraded = {view: found for view, found in views.items() if view != ORIGINAL}
    if labelled:
        rows = [["view", "precision", "cost of compression in points [95% interval]", "broken", "repaired"]]
        for view, found in views.items():
            told = ["", "", ""]
            if view in degraded:
                told = [cost(view, found, images).split(" costs ")[1], f"{found.broken:,}", f"{found.repaired:,}"]
            rows.append([view, f"{found.metrics.get('precision', math.nan):.4f}", *told])
        parts += [
            markdown_table(rows),
            "Precision: share of images classified right (top-1). Cost: precision of the original minus that of the "
            "view on the same images, with Tango's score interval of each view alone, not adjusted for their number. "
            "Broken: images right in the original and wrong in the view; repaired: the reverse.",
        ]
    parts += [further] if further else []
    parts += ["All metrics:", markdown_table(metric_rows(views))]
    if any(metric.noisy and metric.name in found.metrics for metric in METRICS for found in views.values()):
        parts.append(NOISE)
    return "\n\n".join(parts)
