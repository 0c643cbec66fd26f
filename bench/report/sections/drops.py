"""What each view costs: drop, its interval and test, flips, loss."""

from bench.report.elements import MISSING, Block, Cell, Section, Table, Text, number, p_value
from bench.report.groups import Entry, Group
from bench.statistics.intervals import RESAMPLES
from datamodules.degradations import ORIGINAL


def drops_section(group: Group) -> Section:
    """Drops from the original, and the measures beside them."""
    if not group.degraded:
        return Section("Drop", (Text("Only the original was measured."),))
    tests = sum(view != ORIGINAL for _, view, _ in group.cells)
    drops = Table(
        f"{group.name}-drop",
        "Drop in precision from the original",
        ("encoder", *group.degraded),
        tuple((Cell(one.label), *(_drop(one, view) for view in group.degraded)) for one in group.entries),
        f"With the paired bootstrap's 95% interval ({RESAMPLES:,} resamples) and McNemar's exact test against the "
        f"original, adjusted by Holm's method for the {tests} such tests of this table.",
    )
    header = ("encoder", "view", "relative drop", "flips", "broken", "repaired", "loss increase", "calibration error")
    rows = tuple(_row(one, view) for one, view, _ in group.cells if view != ORIGINAL)
    losses = Table(
        f"{group.name}-losses",
        "What the drop is made of",
        header,
        rows,
        "Relative drop: share lost of what the original had over guessing. Flips, broken and repaired: shares of all "
        "images. Loss increase: nats.",
    )
    blocks: list[Block] = [drops, losses]
    return Section("Drop", tuple(blocks))


def _drop(entry: Entry, view: str) -> Cell:
    if view not in entry.cells:
        return Cell(MISSING)
    cell = entry.cells[view]
    interval = f"[{number(cell.drop_interval.low)}, {number(cell.drop_interval.high)}]"
    return Cell(number(cell.drop), (interval, p_value(cell.p_holm)), cell.drop)


def _row(entry: Entry, view: str) -> tuple[Cell, ...]:
    cell = entry.cells[view]
    counts = (cell.result.flipped, cell.result.broken, cell.result.repaired)
    values = [cell.relative_drop, *(count / cell.run.images for count in counts)]
    values += [cell.result.means.get(name, float("nan")) for name in ("loss_increase", "calibration_error")]
    return (Cell(entry.label), Cell(view), *(Cell(number(value), value=value) for value in values))
