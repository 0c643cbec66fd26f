"""What the audit of a sample of the original images found, as records say it."""

from collections.abc import Mapping
from typing import Any

from bench.report.document import Section
from bench.report.groups import Group
from bench.report.inputs import Choices

_MOST_QUALITIES = 5


def section(group: Group, choices: Choices) -> Section | None:
    """A sentence on the originals' past; None where no record says anything about it."""
    line = past_of(group.data.further.get("audit"))
    return None if line is None else Section("The originals' past", (line,))


def past_of(found: Any) -> str | None:
    """What a record's audit says, in a sentence; None where it is none.

    >>> past_of({"images": 10, "lossy": 10, "beyond_chance": True, "qualities": {"75": 10}})
    'Of 10 originals that were looked at, 10 show a lossy past (JPEG quality 75): every drop here is biased down.'
    >>> past_of({"images": 10, "lossy": 0, "beyond_chance": False, "qualities": {}})
    'Of 10 originals that were looked at, 0 show a lossy past.'
    """
    if not isinstance(found, Mapping):
        return None
    images, lossy, qualities = (found.get(key) for key in ("images", "lossy", "qualities"))
    if not isinstance(images, int) or not isinstance(lossy, int) or not isinstance(qualities, Mapping):
        return None
    named = ", ".join(str(key) for key in list(qualities)[:_MOST_QUALITIES])
    line = f"Of {images} originals that were looked at, {lossy} show a lossy past"
    if not lossy:
        return f"{line}."
    line += f" (JPEG quality {named})" if named else ""
    if found.get("beyond_chance") is True:
        return f"{line}: every drop here is biased down."
    return f"{line}, no more than lossless sets do by chance."
