"""The `lightning audit` command."""

import csv
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.command_line.ending import OneLineParser
from datamodules.errors import UserError
from datamodules.text import printable

if TYPE_CHECKING:
    from PIL import Image

    from bench.audit.bias import SeenShare
    from bench.audit.dataset import Examined
    from datamodules.sources import Source

_REFERENCES = 64  # images that are degraded twice
_SIDE = 512  # pixels of them
_MOST_PASTS = 5
_COLUMNS = (
    "index", "path", "class", "container", "verdict", "p_jpeg", "p_lossless", "quality", "grid", "subsampling",
    "earlier_quality", "half_chroma", "ruled_out", "reason",
)  # fmt: skip


def main(args: Sequence[str]) -> None:
    """Run `lightning audit`.

    Args:
        args: What follows `audit` on the command line.

    Raises:
        UserError: There are no images, or the output folder cannot be used.
    """
    parser = OneLineParser(
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
    from tqdm import tqdm

    from bench.audit.dataset import examine, summarise
    from bench.command_line import data
    from bench.report.sections.audit import audit_report, in_one_line
    from bench.report.writer import PAGE, write_report
    from bench.runs.files import write_atomically

    chosen = data.folder(options.root) if options.config is None else data.chosen(options.config, rest, "audit")
    counted = tqdm(chosen.indices, desc="Audit", unit="image", disable=None)  # not where nobody looks
    images = list(examine(chosen.source, counted))
    summary = summarise(images, chosen.classes)
    if len(images) == summary["unreadable"]:
        raise UserError(f"none of the {len(images)} images can be read; the first: {images[0].error}")
    shares = {view: vars(share) for view, share in _seen(chosen.source, images, chosen.views).items()}
    summary |= {"data": chosen.name, "seen_shares": shares}
    line = in_one_line(summary)
    write_report(audit_report(f"Audit of {chosen.name}", f"{line}.", summary), options.output)
    write_atomically(options.output / "audit.json", json.dumps(summary, indent=2) + "\n")
    write_atomically(options.output / "audit.csv", _table(images, chosen.classes))
    unread = [f"not read: {image.path or image.index}: {image.error}" for image in images if image.history is None]
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


def _seen(source: "Source", images: Sequence["Examined"], views: Sequence[str]) -> dict[str, "SeenShare"]:
    """The share of each view's drop that is seen from these images; empty where none has a known past."""
    from bench.audit.bias import halved, seen_shares

    readable = [image for image in images if image.history is not None]
    known: Counter[str] = Counter(
        f"jpeg-{image.history.quality}"
        for image in readable
        if image.history is not None and image.history.quality is not None
    )
    if not known:
        return {}
    clean = [image for image in readable if not image.lossy]
    used = clean if len(clean) >= _REFERENCES // 4 else readable
    references = [_load(source, image.index) for image in used[:: max(1, len(used) // _REFERENCES)][:_REFERENCES]]
    if used is readable:
        references = [halved(image) for image in references]
    return seen_shares(references, dict(known.most_common(_MOST_PASTS)), views, len(clean))


def _load(source: "Source", index: int) -> "Image.Image":
    from datamodules.decoding import to_rgb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with the file was told
        with source.load(index) as image:
            rgb = to_rgb(image)
    return rgb.crop((0, 0, min(rgb.width, _SIDE), min(rgb.height, _SIDE)))


def _table(images: Sequence["Examined"], classes: Sequence[str]) -> str:
    """A line per image."""
    from bench.runs.table import inert

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in images:
        known = {"index": image.index, "path": image.path, "container": image.container, "verdict": "unreadable"}
        known |= {"class": classes[image.label] if classes and image.label >= 0 else None, "reason": image.error}
        known |= _known(image)
        writer.writerow(["" if (value := known.get(name)) is None else inert(str(value)) for name in _COLUMNS])
    return text.getvalue()


def _known(image: "Examined") -> dict[str, Any]:
    """Columns of an image that could be read; none of others."""
    history, header = image.history, image.header
    if history is None:
        return {}
    quality: Any = history.quality if history.quality is not None or header is None else "custom"
    return {
        "verdict": history.verdict,
        "p_jpeg": f"{history.jpeg:.4f}",
        "p_lossless": f"{history.lossless:.4f}",
        "quality": quality,
        "grid": None if history.offset is None else f"{history.offset[0]},{history.offset[1]}",
        "subsampling": None if header is None else header.subsampling,
        "earlier_quality": history.earlier_quality,
        "half_chroma": int(history.half_chroma),
        "ruled_out": history.ruled_out or None,
        "reason": history.reason,
    }
