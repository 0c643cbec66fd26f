"""The smallest setting whose drop is under a limit, and the one that surely is: the answer for each encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.groups import DROP, Entry, Group
from bench.report.rates import bits_per_pixel
from bench.statistics.chains import shown_in_chains
from bench.statistics.intervals import Estimate, Interval
from bench.statistics.paired import TAIL, images_to_show, p_under
from bench.statistics.rate_curves import codec_curves, images_of
from datamodules.degradations import ORIGINAL

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Setting:
    """A view that is an answer: its means over the images, and the drop in percentage points with a pointwise interval.

    Attributes:
        view: Its name.
        encoded_bytes: Per image.
        bits_per_pixel: Of the encoded image.
        drop_points: The interval is Tango's at 95%.
        saved: Percent that the files are smaller by than the originals' own; None where these are no files.
    """

    view: str
    encoded_bytes: float
    bits_per_pixel: float
    drop_points: Estimate
    saved: float | None = None


@dataclass(frozen=True)
class Answer:
    """What is said about one encoder.

    Attributes:
        label: Of the encoder.
        images: Number of images.
        limit: The drop that is too much, in percentage points.
        original: Precision of the originals in [0, 1], with Wilson's interval.
        chance: Precision in [0, 1] of always naming the class that most images are of.
        smallest: The encoded view of the fewest bytes whose measured drop is under the limit; None where there is none.
        surely: The one of the fewest bytes among `shown`; None where there is none.
        shown: All encoded views that are shown to be under the limit, jointly: with a chance of 2.5% at most one or
            more of them is not, see `bench.statistics.chains`.
        possible: Whether that many images can show it at all of some setting, if the view changes none of them.
        images_needed: About how many images would show it of some setting, if they change as these did; None where
            `surely` is not, or where no setting's measured drop is under the limit.
    """

    label: str
    images: int
    limit: float
    original: Estimate
    chance: float
    smallest: Setting | None
    surely: Setting | None
    shown: tuple[str, ...]
    possible: bool
    images_needed: int | None

    @property
    def near_chance(self) -> bool:
        """Whether the originals are not shown to be classified better than by always naming one class.

        Then there is nothing to lose, and no drop says what compression does.
        """
        return self.original.interval.low <= self.chance

    @property
    def remark(self) -> str:
        """What has to be said first, or nothing."""
        if not self.near_chance:
            return ""
        original = self.original
        return (
            f"near chance: the originals' {original.value:.4f} [{original.interval.low:.4f}, "
            f"{original.interval.high:.4f}] is not shown to be above the {self.chance:.4f} of always naming the "
            "largest class, so no drop says what compression costs"
        )

    @property
    def certainty(self) -> str:
        """Which setting is surely under the limit; where none is, why, and how many images could show it."""
        if self.surely:
            return f"surely {self.surely.view}, {self.surely.encoded_bytes:,.0f} bytes"
        limit, needed = limit_in_words(self.limit), self.images_needed
        if not self.possible:
            more = f"; about {needed:,} can" if needed else ""
            return f"{self.images:,} images of which a view repairs none cannot show a drop under {limit}{more}"
        more = f"; about {needed:,} that change as these do would" if needed else ""
        return f"these {self.images:,} images do not show a drop under {limit}{more}"


def limit_in_words(points: float) -> str:
    """A limit of the drop as readers see it.

    >>> limit_in_words(1), limit_in_words(0.5)
    ('1 point', '0.5 points')
    """
    return f"{points:g} point{'' if points == 1 else 's'}"


def answers_of(group: Group, points: float) -> list[Answer]:
    """An answer per encoder that has encoded views, in the group's order.

    Args:
        group: Where the measurements are.
        points: The limit, in percentage points.
    """
    by_label = {label: cells for label, cells in group.cells.groupby("label", sort=False)}
    return [_answer(group, entry, by_label[entry.label], points) for entry in group.entries if bits_per_pixel(entry)]


def chance_level(entry: Entry) -> float:
    """Share of the images that are of the largest class, in (0, 1]: 1/C where all classes have as many images."""
    record = entry.runs[ORIGINAL].record
    return max(record.class_images or (0,)) / record.images


def _answer(group: Group, entry: Entry, cells: "pd.DataFrame", points: float) -> Answer:
    n, limit = group.images, images_of(points, group.images)
    encoded = cells[(cells["view"] != ORIGINAL) & cells["bits_per_pixel"].notna()].sort_values("encoded_bytes")
    rows = {str(row["view"]): row for row in encoded.to_dict("records")}
    changed = {view: (int(row["broken"]), int(row["repaired"])) for view, row in rows.items()}
    under = {view: broken - repaired < limit for view, (broken, repaired) in changed.items()}
    chains = _chains({view: row["bits_per_pixel"] for view, row in rows.items()})

    def p_value(view: str) -> float:
        return p_under(*changed[view], n, points / 100) if under[view] else 1.0

    found = {view for chain in shown_in_chains(chains, p_value) for view in chain}
    shown = tuple(view for view in rows if view in found)
    part = TAIL / len(chains)
    needed = [images_to_show(*changed[chain[0]], n, points / 100, part) for chain in chains if not shown]
    first = next(iter(cells[cells["view"] == ORIGINAL].to_dict("records")))
    smallest = next((view for view in rows if under[view]), None)
    return Answer(
        label=entry.label,
        images=n,
        limit=points,
        original=_estimate(first, "precision"),
        chance=chance_level(entry),
        smallest=_setting(rows[smallest], first) if smallest else None,
        surely=_setting(rows[shown[0]], first) if shown else None,
        shown=shown,
        possible=p_under(0, 0, n, points / 100) <= part,
        images_needed=min((count for count in needed if count), default=None),
    )


def _chains(bits: Mapping[str, float]) -> list[list[str]]:
    """The settings of each codec from the largest files down; what is no setting of a codec alone."""
    curves = [views[::-1] for views in codec_curves(bits).values()]
    placed = {view for views in curves for view in views}
    return [*curves, *([view] for view in bits if view not in placed)]


def _setting(row: Mapping[Any, Any], original: Mapping[Any, Any]) -> Setting:
    size, saved = row["encoded_bytes"], percent_saved(row["encoded_bytes"], original["encoded_bytes"])
    return Setting(str(row["view"]), size, row["bits_per_pixel"], _estimate(row, DROP), saved)


def percent_saved(encoded_bytes: float, original_bytes: float) -> float | None:
    """Percent by which files are smaller than the originals' own, of which NaN says that they are none.

    >>> percent_saved(250.0, 1000.0)
    75.0
    """
    return 100 * (1 - encoded_bytes / original_bytes) if original_bytes > 0 else None


def _estimate(row: Mapping[Any, Any], name: str) -> Estimate:
    return Estimate(row[name], Interval(row[f"{name}_low"], row[f"{name}_high"]))
