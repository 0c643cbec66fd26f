"""A report as Markdown, its tables as LaTeX, its data as CSV."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO

from bench.report.elements import Block, Cell, Gallery, Listing, Plot, Report, Table, Text

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--", "\n": " ", "\r": " ",
}  # fmt: skip


def escape_markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line, also in a table.

    >>> escape_markdown("a|b *c*\n<d>")
    'a\\|b \\*c\\* \\<d\\>'
    """
    return re.sub(r"([\\`*_<>|~$#&!]|\](?=\())", r"\\\1", " ".join(text.split()))


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> escape_latex("50% of_x")
    '50\\% of\\_x'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def to_markdown(report: Report) -> str:
    """The whole report; figures and pictures are links into `figures/`."""
    lines = [f"# {escape_markdown(report.title)}", "", escape_markdown(report.summary), ""]
    for chapter in report.chapters:
        lines += [f"## {escape_markdown(chapter.title)}", ""]
        for section in chapter.sections:
            lines += [f"### {escape_markdown(section.title)}", ""]
            for block in section.blocks:
                lines += [*_block(block), ""]
    return "\n".join(lines)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield escape_markdown(block.text)
    elif isinstance(block, Listing):
        yield from (f"- **{escape_markdown(term)}**: {escape_markdown(text)}" for term, text in block.items)
    else:
        yield f"**{escape_markdown(block.title)}.** {escape_markdown(block.note)}".rstrip()
        yield ""
        if isinstance(block, Table):
            yield from _table(block)
        elif isinstance(block, Plot):
            yield f"![{escape_markdown(block.title)}](figures/{block.name}.png)"
        else:
            yield from (
                f"![{escape_markdown(caption)}](figures/{picture_name(block, place)})"
                for place, (caption, _) in enumerate(block.pictures)
            )


def _table(table: Table) -> Iterator[str]:
    yield _line([escape_markdown(name) for name in table.header])
    yield _line(
        ["---" if all(row[i].value is None for row in table.rows) else "---:" for i in range(len(table.header))]
    )
    yield from (_line([_cell(cell) for cell in row]) for row in table.rows)


def _cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.strong else text
    return "<br>".join([text + (" ⚠" if cell.marked else ""), *(escape_markdown(detail) for detail in cell.details)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def picture_name(gallery: Gallery, place: int) -> str:
    """File name of a gallery's picture in `figures/`."""
    return f"{gallery.name}-{place + 1}.png"


def to_latex(table: Table) -> str:
    """A `table` environment for the booktabs package, for any LaTeX engine with UTF-8 input."""
    columns = "".join("l" if all(row[i].value is None for row in table.rows) else "r" for i in range(len(table.header)))
    caption = f"{table.title}. {table.note}".strip()
    rows = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(escape_latex(name) for name in table.header) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.strong else text
    text += r"\textsuperscript{*}" if cell.marked else ""
    details = "".join(rf"\\{{\scriptsize {escape_latex(detail)}}}" for detail in cell.details)
    return rf"\shortstack[r]{{{text}{details}}}" if details else text


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV; columns are those of any row, NaN and what is missing are empty."""
    text = StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value != value else value for key, value in row.items()})
    return text.getvalue()
