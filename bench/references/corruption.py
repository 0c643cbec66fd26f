"""Errors under the JPEG corruption of the -C benchmarks, as Hendrycks and Dietterich (2019) sum them up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.references.comparison import pixels_of
from bench.references.sources import AlexNet, Images, Source
from bench.runs.provenance import DataRecord
from datamodules.degradations import ORIGINAL

SEVERITIES = 5


@dataclass(frozen=True)
class CorruptionErrors:
    """Errors of one model under one corruption.

    Attributes:
        errors: In [0, 1], by increasing severity.
        clean: Error in [0, 1] on images that were prepared alike and not corrupted; None where it is not known.
    """

    errors: tuple[float, ...]
    clean: float | None = None

    @property
    def mean(self) -> float:
        """Mean over the severities."""
        return fmean(self.errors)

    @property
    def relative(self) -> float | None:
        """Mean over the severities above the clean error."""
        return None if self.clean is None else self.mean - self.clean

    def over(self, reference: AlexNet) -> float:
        """Corruption error: the sum over severities of the errors, over the sum of AlexNet's.

        Of one corruption; what is known as mCE is the mean over fifteen of them.

        >>> CorruptionErrors((0.4, 0.5, 0.6)).over(AlexNet(0.625, 0.4, ""))
        0.8
        """
        return self.mean / reference.error

    def relative_over(self, reference: AlexNet) -> float | None:
        """Relative corruption error: what corruption adds to the clean error, over what it adds to AlexNet's.

        >>> CorruptionErrors((0.4, 0.5, 0.6), clean=0.25).relative_over(AlexNet(0.9, 0.4, ""))
        0.5
        """
        return None if self.relative is None else self.relative / (reference.error - reference.clean_error)


def severities(source: Source) -> Images | None:
    """The table of a source with a column per severity; None where it has none."""
    return next((table for table in source.tables if len(table.views) == SEVERITIES), None)


def measured_errors(table: Images, precision: Mapping[str, float]) -> CorruptionErrors | None:
    """Errors of a run under the corruption of a table; None unless every severity was measured in its geometry.

    The clean images are those of the same geometry before the corruption, and the originals where that has none.

    Args:
        table: With a column per severity.
        precision: In [0, 1], by view.
    """
    found = {pixels_of(view): value for view, value in precision.items()}
    views = [pixels_of(view) for view in table.views]
    if any(view not in found for view in views):
        return None
    geometry = "+".join(link for link in views[0].split("+") if not link.startswith("jpeg"))
    clean = found.get(geometry or ORIGINAL)
    return CorruptionErrors(tuple(1 - found[view] for view in views), None if clean is None else 1 - clean)


def published_errors(source: Source, table: Images) -> dict[str, CorruptionErrors]:
    """Errors by model, the smallest mean first.

    Args:
        source: Of figures.
        table: Of it, with a column per severity.
    """
    found = {}
    for row in source.rows:
        clean = [figure.value for other in source.tables if other is not table for figure in source.figures(row, other)]
        errors = tuple(1 - figure.value for figure in source.figures(row, table))
        found[row.encoder] = CorruptionErrors(errors, 1 - clean[0] if clean else None)
    return dict(sorted(found.items(), key=lambda model: model[1].mean))


def why_not_beside(source: Source, data: DataRecord, images: int, views: Sequence[str]) -> str:
    """Why measurements do not stand beside the models of a source of corrupted images; empty where they do.

    Args:
        source: With a column per severity.
        data: The images.
        images: Number of images that were classified.
        views: What was measured of them, by name.
    """
    table = severities(source)
    if table is None or not table.are_of(data):
        return f"{source.title} has no such data set and split"
    if images != table.split_images:
        return f"{images} images, {source.title} has {table.split_images}"
    wanted, found = [pixels_of(view) for view in table.views], {pixels_of(view) for view in views}
    if found.issuperset(wanted):
        return ""
    if {_codec(view) for view in found}.issuperset(map(_codec, wanted)):
        return f"the severities have another geometry than {source.title}: measure {table.views[0]} and so on"
    return f"not all severities were measured, from {table.views[0]} to {table.views[-1]}"


def _codec(view: str) -> str:
    """The first codec of a chain."""
    return next((link for link in view.split("+") if link.startswith("jpeg")), "")
