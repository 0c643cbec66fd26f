"""Damaged images: each ends in a line of the audit, never in a traceback, a hang, or a file outside the output."""

import csv
import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from benchmarks.lossless_images import dead_leaves

FORMATS = {
    "png": {"format": "PNG"}, "jpg": {"format": "JPEG", "quality": 80}, "webp": {"format": "WEBP", "quality": 80},
    "avif": {"format": "AVIF", "quality": 60}, "bmp": {"format": "BMP"}, "gif": {"format": "GIF"},
    "tif": {"format": "TIFF"}, "jp2": {"format": "JPEG2000"},
}  # fmt: skip


def encoded(**options):
    buffer = io.BytesIO()
    Image.fromarray(dead_leaves(48, 40, np.random.default_rng(0), grain=2.0)).save(buffer, **options)
    return buffer.getvalue()


def damaged(data, chance):
    """Cut, with bytes changed, with a part repeated, or with a part left out."""
    data, kind = bytearray(data), chance.randrange(4)
    place = chance.randrange(len(data))
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        for _ in range(chance.randint(1, 30)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)
    if kind == 2:
        return bytes(data[:place] + data[max(0, place - 50) : place] * chance.randint(1, 40) + data[place:])
    return bytes(data[:place] + data[place + chance.randint(1, 60) :])


def png_bomb(width, height):
    """A PNG that claims a size, of zeros that take next to nothing."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    )


def audited(root):
    """Rows of the audit of a folder, and what lies beside it afterwards that did not before."""
    before = {path for path in Path().rglob("*")}
    with pytest.raises(SystemExit) as end:
        main(["audit", str(root), "--output", "out"])
    assert not end.value.code
    rows = list(csv.DictReader(Path("out/audit.csv").read_text().splitlines()))
    return rows, {path for path in {*Path().rglob("*")} - before if "out" not in path.parts}


def test_bombs_pipes_and_cut_files_end_in_a_line_each(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "set"
    root.mkdir()
    (root / "whole.png").write_bytes(encoded(format="PNG"))
    os.mkfifo(root / "pipe.png")
    (root / "bomb.png").write_bytes(png_bomb(60_000, 60_000))
    (root / "lie.png").write_bytes(png_bomb(9_000, 1_000))
    (root / "loop.png").symlink_to("loop.png")
    (root / "cut.webp").write_bytes(encoded(format="WEBP")[:60])
    rows, elsewhere = audited(root)
    assert {row["path"]: row["verdict"] == "unreadable" for row in rows} == {
        "whole.png": False, "pipe.png": True, "bomb.png": True, "lie.png": True, "loop.png": True, "cut.webp": True
    }  # fmt: skip
    assert not elsewhere
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("not read: ") for line in lines) == 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_damaged_images_end_in_a_line_each(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root, chance = tmp_path / "set", random.Random(0)
    whole = {ending: encoded(**options) for ending, options in FORMATS.items()}
    for number in range(1200):
        place = root / f"class {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        ending = chance.choice([*FORMATS])
        shown = ending if chance.random() < 0.9 else chance.choice([*FORMATS])
        (place / f"{number}.{shown}").write_bytes(damaged(whole[ending], chance))
    rows, elsewhere = audited(root)
    assert not elsewhere
    assert len(rows) == 1200
    verdicts = {row["verdict"] for row in rows}
    assert verdicts >= {"unreadable", "jpeg"}
    assert verdicts <= {"unreadable", "jpeg", "lossy", "lossless", "unknown"}
    assert all(row["reason"] for row in rows if row["verdict"] == "unreadable")
    assert "Traceback" not in capsys.readouterr().err
