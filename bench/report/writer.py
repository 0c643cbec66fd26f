"""A report as HTML, Markdown, LaTeX and CSV: templates for the first three, the frames themselves for the last."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.document import MOST_PICTURE_BYTES, Gallery, Plot, Report
from bench.report.tables import Cell, Table, lay_out
from bench.runs.files import read_bounded, write_atomically
from datamodules.errors import UserError
from datamodules.text import printable

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup

GENERATOR = "clip-compression-bench report"
PAGE = "index.html"
_FIGURES, _TABLES = "figures", "tables"
_UNFINISHED = f".{PAGE}.*"  # what a kill leaves of a page, see `write_atomically`
_OWN = (f"{_FIGURES}/*.png", f"{_FIGURES}/*.svg", f"{_TABLES}/*.csv", f"{_TABLES}/*.tex", _UNFINISHED)
_INTERRUPTED = (
    f'<!doctype html>\n<meta name="generator" content="{GENERATOR}">\n'
    "<p>The report was interrupted while it was written: run the same command again.</p>\n"
)
_TEMPLATES = Path(__file__).parent / "templates"
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--",
}  # fmt: skip
_LATEX_MARKS = {
    "variable_start_string": "<<", "variable_end_string": ">>", "block_start_string": "<%", "block_end_string": "%>",
    "comment_start_string": "<#", "comment_end_string": "#>",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_report(report: Report, folder: Path) -> None:
    """Write a report, in place of an older one if there is one.

    Files: `index.html`, `report.md`, `tables/*.csv`, `tables/*.tex`, `figures/*.png`, `figures/*.svg`.

    Raises:
        UserError: The folder holds something else, or cannot be written.
    """
    try:
        _prepare(folder)
        frames: dict[str, list[pd.DataFrame]] = {}
        for chapter, block in report.blocks:
            if isinstance(block, Table):
                write_atomically(folder / _TABLES / f"{block.name}.tex", to_latex(block))
                if block.data:
                    frame = block.frame
                    frame = frame.assign(group=chapter.group)[["group", *frame]] if chapter.group else frame
                    frames.setdefault(block.data, []).append(frame)
            elif isinstance(block, Plot):
                _draw(block, folder / _FIGURES)
            elif isinstance(block, Gallery):
                for _, path, copy in block.copies():
                    (folder / _FIGURES / copy).write_bytes(read_bounded(path, MOST_PICTURE_BYTES, follow=False))
        for name, parts in frames.items():
            write_atomically(folder / _TABLES / name, to_csv(parts))
        write_atomically(folder / "report.md", to_markdown(report))
        write_atomically(folder / PAGE, to_html(report, folder / _FIGURES))
    except OSError as error:
        raise UserError(f"{str(folder)!r} cannot be written ({error.strerror}): choose another --output") from error


def _prepare(folder: Path) -> None:
    """Make the folders; what an older report left in them goes, so that no stale table stays.

    The page comes first, without the report, so that the folder of one that was interrupted is known for what it is.
    """
    page = folder / PAGE
    there = [path for path in folder.iterdir() if not path.match(_UNFINISHED)] if folder.is_dir() else []
    if there and not _is_report(page):
        raise UserError(f"{str(folder)!r} holds something else than a report: choose another folder with --output")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(page, _INTERRUPTED)
    for name in (_FIGURES, _TABLES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stale in (path for pattern in _OWN for path in folder.glob(pattern)):
        stale.unlink()


def _is_report(page: Path) -> bool:
    if not page.is_file():
        return False
    with page.open(encoding="utf-8", errors="replace") as file:
        return GENERATOR in file.read(1000)


def _draw(plot: Plot, folder: Path) -> None:
    """Write SVG and PNG, the same bytes for the same data."""
    from matplotlib import rc_context

    figure = plot.draw()
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # laid out now, which takes longer than drawing
    with rc_context({"svg.hashsalt": plot.name}):
        figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{plot.name}.png", dpi=160)


def to_html(report: Report, figures: Path) -> Iterable[str]:
    """One page that needs nothing else, no network and no other file; in pieces, so that it is never whole in memory.

    Args:
        report: What to show.
        figures: Folder that has the SVG files of the plots and the copies of the pictures.
    """
    texts = {name: (_TEMPLATES / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    hashes = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in texts.items()}
    own = {"generator": GENERATOR, "figures": figures, "hashes": hashes}
    own |= {name: _markup(text) for name, text in texts.items()}
    return _environment(printable, autoescape=True).get_template("page.html.j2").generate(report=report, **own)


def to_markdown(report: Report) -> str:
    """The whole report; figures and pictures are links into `figures/`."""
    return _environment(escape_markdown).get_template("report.md.j2").render(report=report)


def to_latex(table: Table) -> str:
    """A `table` environment for the booktabs package, for any LaTeX engine with UTF-8 input."""
    return _latex().get_template("table.tex.j2").render(table=table)


@cache
def _latex() -> "Environment":
    return _environment(escape_latex, **_LATEX_MARKS)


def to_csv(frames: Iterable["pd.DataFrame"]) -> str:
    """Frames below each other, numbers with all their digits; NaN and what is missing are empty.

    Texts that a spreadsheet would take for a formula begin with an apostrophe.
    """
    import pandas as pd

    whole = pd.concat(list(frames), ignore_index=True)
    whole = whole.astype({name: object for name in whole if whole[name].dtype == "category"})
    whole = whole.map(lambda value: _inert(value) if isinstance(value, str) else value)
    return str(whole.to_csv(index=False, lineterminator="\n"))


def _inert(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(_FORMULA) else text


def escape_markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line, also in a table.

    >>> print(escape_markdown("a|b *c*\n<d>"))
    a\|b \*c\* \<d\>
    """
    return re.sub(r"([\\`*_<>|~$#&!]|\](?=\())", r"\\\1", printable(" ".join(text.split())))


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> print(escape_latex("50% of_x"))
    50\% of\_x
    """
    return "".join(_LATEX.get(character, character) for character in printable(" ".join(text.split())))


def _markdown_cell(cell: Cell) -> "Markup":
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.bold else text
    return _markup(
        "<br>".join([text + (" \N{WARNING SIGN}" if cell.marked else ""), *map(escape_markdown, cell.details)])
    )


def _latex_cell(cell: Cell) -> "Markup":
    text = escape_latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.bold else text
    text += r"\textsuperscript{*}" if cell.marked else ""
    details = "".join(rf"\\{{\scriptsize {escape_latex(detail)}}}" for detail in cell.details)
    return _markup(rf"\shortstack[r]{{{text}{details}}}" if details else text)


def _breakable(text: str) -> "Markup":
    """Text of HTML whose lines may end after a slash, as those of long paths have to."""
    from markupsafe import escape

    return _markup("/<wbr>".join(map(escape, printable(text).split("/"))))


def _address(kind: str, path: Path) -> "Markup":
    """A picture as the address of itself."""
    return _markup(f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}")


def _markup(text: str) -> "Markup":
    """Text in the language of a template, which nothing escapes again."""
    from markupsafe import Markup

    return Markup(text)


def _environment(escape: Callable[[str], str], **options: Any) -> "Environment":
    """Templates into which every text goes escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else escape(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.globals |= {"lay_out": lay_out, "address": _address}
    environment.filters |= {
        "markdown": _markdown_cell,
        "latex": _latex_cell,
        "markup": _markup,
        "breakable": _breakable,
    }
    return environment
