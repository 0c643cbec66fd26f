"""The `lightning audit` command."""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench.command_line.ending import fail
from datamodules.errors import UserError
from datamodules.text import printable

if TYPE_CHECKING:
    from PIL import Image

    from bench.audit.dataset import Examined
    from datamodules.sources import Source

_REFERENCES = 64  # images that are degraded twice
_MOST_PASTS = 5
_COLUMNS = (
    "index", "path", "class", "container", "verdict", "probability", "quality", "grid", "subsampling",
    "earlier_quality", "half_chroma", "ruled_out", "reason",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one line."""

    def error(self, message: str) -> NoReturn:
        fail(f"{message}; `{self.prog} --help` lists what there is")


def main(args: Sequence[str]) -> None:
    """Run `lightning audit`.

    Args:
        args: What follows `audit` on the command line.

    Raises:
        UserError: There are no images, or the output folder cannot be used.
    """
    parser = _Parser(
        prog="lightning audit",
        description="Which images of a data set were lossy before: by their headers and their pixels.",
        epilog="Other options, such as --data.root data or --data.limit 1000, are those of the configuration's data.",
        allow_abbrev=False,
    )
    parser.add_argument("root", nargs="?", type=Path, help="folder of images, with or without class folders")
    parser.add_argument("--config", help="YAML whose `data` is audited, or the name of one: cifar10")
    parser.add_argument("--output", type=Path, default=Path("audit"), help="folder to write into (default: audit)")
    words, rest = _apart(args)
    options = parser.parse_args(words)
    if (options.root is None) == (options.config is None):
        parser.error("give a folder of images, or --config")
    if rest and options.config is None:
        parser.error(f"{rest[0]!r} is no option here")
    from bench.audit.data import configured, folder
    from bench.audit.dataset import examine, in_one_line, summarise
    from bench.audit.page import audit_report
    from bench.report.writer import PAGE, write_report
    from bench.runs.files import write_atomically

    chosen = folder(options.root) if options.config is None else configured(options.config, rest)
    _say(f"{len(chosen.indices)} images, looking at each")
    images = list(examine(chosen.source, chosen.indices))
    summary = summarise(images, chosen.classes)
    if len(images) == summary["unreadable"]:
        raise UserError(f"none of the {len(images)} images can be read; the first: {images[0].error}")
    summary |= {"data": chosen.name, "seen_shares": _seen(chosen.source, images, chosen.views)}
    line = in_one_line(summary)
    write_report(audit_report(f"Audit of {chosen.name}", f"{line}.", summary), options.output)
    write_atomically(options.output / "audit.json", json.dumps(summary, indent=2) + "\n")
    write_atomically(options.output / "audit.csv", _table(images, chosen.classes))
    unread = [f"not read: {one.path or one.index}: {one.error}" for one in images if one.history is None]
    print(*map(printable, [*unread, line, f"written to {options.output / PAGE}"]), sep="\n")


def _apart(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of the command, and options of the data with their values."""
    words: list[str] = []
    rest: list[str] = []
    wanted = False
    for word in args:
        of_data = word.startswith("--data.")
        (rest if of_data or wanted else words).append(word)
        wanted = of_data and "=" not in word
    return words, rest


def _say(step: str) -> None:
    """A line of progress, on the standard error stream."""
    sys.stderr.write(f"{step} ...\n")
    sys.stderr.flush()


def _seen(source: "Source", images: Sequence["Examined"], views: Sequence[str]) -> dict[str, float]:
    """The share of each view's distortion that is seen from these images; empty where none has a known past."""
    from bench.audit.bias import halved, seen_shares

    known: Counter[str] = Counter(
        f"jpeg-{one.history.quality}" for one in images if one.history is not None and one.history.quality is not None
    )
    if not known:
        return {}
    traceless = [one for one in images if one.history is not None and one.history.verdict == "no trace"]
    used = traceless if len(traceless) >= _REFERENCES // 4 else [one for one in images if one.history is not None]
    references = [_load(source, one.index) for one in used[:: max(1, len(used) // _REFERENCES)][:_REFERENCES]]
    if used is not traceless:
        references = [halved(image) for image in references]
    pasts = dict(known.most_common(_MOST_PASTS))
    return seen_shares(references, pasts, views, len(traceless))


def _load(source: "Source", index: int) -> "Image.Image":
    from datamodules.decoding import to_rgb

    with source.load(index) as image:
        rgb = to_rgb(image)
    return rgb.crop((0, 0, min(rgb.width, 512), min(rgb.height, 512)))


def _table(images: Sequence["Examined"], classes: Sequence[str]) -> str:
    """A line per image."""
    from bench.runs.table import inert

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in images:
        known = {"index": one.index, "path": one.path, "container": one.container, "verdict": "unreadable"}
        known |= {"class": classes[one.label] if classes and one.label >= 0 else None, "reason": one.error}
        if one.history is not None:
            known |= _known(one)
        writer.writerow(["" if (value := known.get(name)) is None else inert(str(value)) for name in _COLUMNS])
    return text.getvalue()


def _known(one: "Examined") -> dict[str, Any]:
    history, header = one.history, one.header
    assert history is not None
    quality: Any = history.quality if history.quality is not None or header is None else "custom"
    return {
        "verdict": history.verdict,
        "probability": f"{history.probability:.4f}" if one.container is None or history.verdict != "lossy" else None,
        "quality": quality,
        "grid": None if history.offset is None else f"{history.offset[0]},{history.offset[1]}",
        "subsampling": None if header is None else header.subsampling,
        "earlier_quality": history.earlier_quality,
        "half_chroma": int(history.half_chroma),
        "ruled_out": history.ruled_out or None,
        "reason": history.reason,
    }
