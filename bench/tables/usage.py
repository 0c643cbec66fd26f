"""How tables are used elsewhere, and how they look as text."""

from collections.abc import Sequence

from datamodules.degradations.quantisation import Quantisation, TableSet, family

STANDARD = "mozjpeg0"
"""The tables of JPEG's Annex K, which libjpeg scales with the quality."""

_SAMPLING = {"4:2:0": "2x2,1x1,1x1", "4:4:4": "1x1,1x1,1x1"}


def pillow_snippet(scale: int, file: str) -> str:
    """Python that saves an image with the tables of a file, by Pillow alone."""
    return "\n".join(
        [
            "import json, pathlib",
            f'tables = json.loads(pathlib.Path({file!r}).read_text())["scales"]["{scale}"]',
            'qtables = [tables["luma"]] + [tables["chroma"]] * (tables["chroma"] != tables["luma"])',
            'image.save("out.jpg", qtables=qtables, subsampling=tables["subsampling"], optimize=True)',
        ]
    )


def cjpeg_text(tables: Quantisation) -> str:
    """The content of a file that `cjpeg -qtables` reads, with the other options that it needs in its first line.

    >>> print(cjpeg_text(Quantisation((16,) * 64, (16,) * 64)).splitlines()[0])
    # cjpeg -qtables THIS_FILE -qslots 0,0,0 -sample 2x2,1x1,1x1 -optimize IMAGE.ppm
    """
    slots = "0,0,0" if tables.one_table else "0,1,1"
    sampling = _SAMPLING[tables.subsampling]
    lines = [f"# cjpeg -qtables THIS_FILE -qslots {slots} -sample {sampling} -optimize IMAGE.ppm"]
    for name, steps in (("luma and chroma" if tables.one_table else "luma", tables.luma), ("chroma", tables.chroma)):
        lines += [f"# {name}", *_rows(steps), ""]
        if tables.one_table:
            break
    return "\n".join(lines)


def side_by_side(found: TableSet) -> str:
    """All tables beside the standard ones at the same scale, as text."""
    blocks = []
    for scale, tables in sorted(found.scales.items(), reverse=True):
        standard = family(STANDARD).at(scale)
        note = ", one table" if tables.one_table else ""
        blocks.append(f"{found.name} at scale {scale}, {tables.subsampling}{note}; at the right JPEG's standard tables")
        for name in ("luma", "chroma"):
            pairs = zip(_rows(getattr(tables, name)), _rows(getattr(standard, name)), strict=True)
            blocks += [name, *(f"  {left}      {right}" for left, right in pairs)]
        blocks.append("")
    return "\n".join(blocks)


def _rows(steps: Sequence[int]) -> list[str]:
    return [" ".join(f"{step:3d}" for step in steps[first : first + 8]) for first in range(0, 64, 8)]
