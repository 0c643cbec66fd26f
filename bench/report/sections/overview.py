"""What a page opens with: what was found, in sentences, and all sets of images on one picture."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from bench.figures.curves import Panel, quality_curves
from bench.report.document import Block, Chapter, Findings, Plot, Section
from bench.report.groups import Group
from bench.report.sections.precision import GREY_NOTE, quality_panel

_NOTE = (
    "In brackets: 95% intervals, pointwise unless said otherwise, of what other images like these would give. "
    "Precision is top-1 accuracy, drops are in percentage points, a view is what a codec at one setting makes of an "
    "image."
)


def sections(groups: Sequence[Group], chapters: Sequence[Chapter]) -> tuple[Section, ...]:
    """The findings of each chapter that has any, and the picture.

    Args:
        groups: All of them.
        chapters: With the sections whose findings are gathered.
    """
    gathered: list[Section] = []
    for chapter in chapters:
        sentences = [(text, part.title, chapter.anchor(part)) for part in chapter.sections for text in part.findings]
        if sentences:
            blocks: tuple[Block, ...] = (
                (Findings(tuple(sentences)),) if gathered else (_NOTE, Findings(tuple(sentences)))
            )
            gathered.append(Section(chapter.title, blocks))
    codec, panels = overview_panels(groups)
    if len(panels) < 2:  # its own chapter has it
        return tuple(gathered)
    note = (
        f"Precision against the quality of {codec}. Bars: Wilson's 95% intervals, pointwise. "
        "The scale of precision does not start at 0."
    )
    note += GREY_NOTE if any(panel.published for panel in panels) else ""
    plot = Plot("overview", "All sets of images", partial(quality_curves, panels), note)
    return (*gathered, Section("Overview", (plot,)))


def overview_panels(groups: Sequence[Group]) -> tuple[str, list[Panel]]:
    """A panel per set of images, over the quality of the codec that most of them have; its name, "" without any."""
    shared = Counter(codec for group in groups for codec, points in group.curves.items() if len(points) > 1)
    if not shared:
        return "", []
    ((codec, _),) = shared.most_common(1)
    places = {entry.label: entry.place for group in groups for entry in group.entries}
    return codec, [quality_panel(group, codec, group.title, places) for group in groups if codec in group.curves]
