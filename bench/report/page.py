"""A report as one HTML page that needs nothing else: no network, no other file."""

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

from bench.report.elements import Block, Cell, Chapter, Gallery, Listing, Plot, Report, Table, Text

GENERATOR = "clip-compression-bench report"
_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1c2330;background:#fff;margin:0 auto;max-width:1280px;padding:1.5rem}
h1{font-size:1.7rem;margin:.2rem 0}h2{margin:2.6rem 0 .4rem;border-bottom:2px solid #1c2330;padding-bottom:.2rem}
h3{margin:1.8rem 0 .4rem;color:#33507a}figure,.block{margin:1rem 0 1.6rem}figcaption,.title{font-weight:600}
.note{color:#555e6c;font-size:.88rem;margin:.1rem 0 .4rem;max-width:80em}nav{font-size:.92rem;columns:2;max-width:70em}
nav a{display:block;color:#33507a;text-decoration:none}nav a:hover{text-decoration:underline}
.scroll{overflow:auto;max-height:46rem;border:1px solid #d5dae1;width:fit-content;max-width:100%}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th{position:sticky;top:0;background:#eef1f5;cursor:pointer;user-select:none}
th[aria-sort=ascending]::after{content:" \\2191"}th[aria-sort=descending]::after{content:" \\2193"}
th,td{padding:.28rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid #e6e9ee;white-space:nowrap}
.n{text-align:right}td small{display:block;color:#6b7482;font-size:.78rem}
td.marked{background:#fdebd3}img{max-width:100%;height:auto}.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(34rem,1fr));gap:1rem}
.pictures img{border:1px solid #d5dae1}.pictures figure{margin:0}
dt{font-weight:600;overflow-wrap:anywhere}dd{margin:0 0 .5rem 1.2rem;max-width:80em}
@media print{.scroll{max-height:none;overflow:visible}nav{display:none}}
"""
_SCRIPT = """
for (const head of document.querySelectorAll("th")) {
  const sort = () => {
    const row = head.parentNode, body = head.closest("table").tBodies[0], column = head.cellIndex;
    const down = head.ariaSort === "descending" || (!head.ariaSort && !head.classList.contains("n"));
    for (const other of row.cells) other.ariaSort = null;
    head.ariaSort = down ? "ascending" : "descending";
    const sign = down ? 1 : -1;
    const key = line => {
      const cell = line.cells[column];
      return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
    };
    const missing = value => value === "\\u2013" || Number.isNaN(value);
    const compare = (one, other) => {
      const a = key(one), b = key(other);
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return sign * (typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true}));
    };
    body.append(...[...body.rows].sort(compare));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
}
"""


def to_html(report: Report, figures: Path) -> Iterator[str]:
    """The page in pieces, so that it is never whole in memory.

    Args:
        report: What to show.
        figures: Folder that has the SVG files of the plots.
    """
    title = escape(report.title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta name="generator" content="{GENERATOR}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f"<h1>{title}</h1>\n<p>{escape(report.summary)}</p>\n"
    links = (f'<a href="#chapter-{i}">{escape(one.title)}</a>' for i, one in enumerate(report.chapters))
    yield f"<nav>{''.join(links)}</nav>\n"
    yield '<p class="note">Click a column\'s head to sort by it.</p>\n'
    for place, chapter in enumerate(report.chapters):
        yield from _chapter(chapter, place, figures)
    yield f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"


def _chapter(chapter: Chapter, place: int, figures: Path) -> Iterator[str]:
    yield f'<h2 id="chapter-{place}">{escape(chapter.title)}</h2>\n'
    for section in chapter.sections:
        yield f"<h3>{escape(section.title)}</h3>\n"
        for block in section.blocks:
            yield from _block(block, figures)


def _block(block: Block, figures: Path) -> Iterator[str]:
    if isinstance(block, Text):
        yield f"<p>{escape(block.text)}</p>\n"
    elif isinstance(block, Listing):
        items = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in block.items)
        yield f"<dl>{''.join(items)}</dl>\n"
    else:
        note = f'<div class="note">{escape(block.note)}</div>' if block.note else ""
        yield f'<div class="block"><div class="title">{escape(block.title)}</div>{note}\n'
        if isinstance(block, Table):
            yield from _table(block)
        elif isinstance(block, Plot):
            yield _image(block.title, "svg+xml", (figures / f"{block.name}.svg").read_bytes())
        else:
            yield from _gallery(block)
        yield "</div>\n"


def _table(table: Table) -> Iterator[str]:
    numeric = [any(row[column].value is not None for row in table.rows) for column in range(len(table.header))]
    kinds = [' class="n"' if one else "" for one in numeric]
    heads = (f'<th tabindex="0"{kind}>{escape(name)}</th>' for name, kind in zip(table.header, kinds, strict=True))
    yield f'<div class="scroll"><table><thead><tr>{"".join(heads)}</tr></thead>\n<tbody>\n'
    for row in table.rows:
        cells = (_cell(cell, number=number) for cell, number in zip(row, numeric, strict=True))
        yield f"<tr>{''.join(cells)}</tr>\n"
    yield "</tbody></table></div>\n"


def _cell(cell: Cell, *, number: bool) -> str:
    kinds = [kind for kind, has in (("n", number), ("marked", cell.marked)) if has]
    attributes = f' class="{" ".join(kinds)}"' if kinds else ""
    attributes += f' data-v="{cell.value!r}"' if cell.value is not None and cell.value == cell.value else ""
    text = f"<b>{escape(cell.text)}</b>" if cell.strong else escape(cell.text)
    return f"<td{attributes}>{text}{''.join(f'<small>{escape(detail)}</small>' for detail in cell.details)}</td>"


def _gallery(gallery: Gallery) -> Iterator[str]:
    yield '<div class="pictures">'
    for caption, path in gallery.pictures:
        image = _image(caption, "png", path.read_bytes())
        yield f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>\n"
    yield "</div>\n"


def _image(title: str, kind: str, content: bytes) -> str:
    return f'<img alt="{escape(title)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
