"""The benchmark of tuned tables in miniature: what is kept is not measured again, shares and rates are as defined."""

import json

import numpy as np
import pytest
from PIL import Image

from bench.tables.usage import STANDARD
from benchmarks import table_decoders
from benchmarks import tables as benchmark
from datamodules import Synthetic
from datamodules.degradations.quantisation import Quantisation, TableSet, family
from datamodules.degradations.tables import written

ENCODER = ["--encoder", "configs/models/demo-rn.json", "--pretrained", "configs/models/demo-rn.safetensors"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    data = Synthetic(num_workers=0)
    data.setup("test")
    for place in range(8):
        label = data.chosen.label(place)
        target = root / "test" / data.class_names[label]
        target.mkdir(parents=True, exist_ok=True)
        data.chosen.load(place).save(target / f"{place}.png")
    return root


def test_views_are_measured_once_and_reported(folder, tmp_path, capsys):
    words = ["measure", str(folder), *ENCODER, "--cache", str(tmp_path), "--views", "original", f"{STANDARD}-25"]
    benchmark.main(words)
    benchmark.main([*words, "mozjpeg1-25"])
    measured = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert measured == ["original", f"{STANDARD}-25", "mozjpeg1-25"]
    kept = np.load(tmp_path / "mozjpeg1-25.npz")
    images = [benchmark.to_rgb(image) for image in _images(folder)]
    files = [written(image, family("mozjpeg1").at(25)) for image in images]
    assert sorted(kept["size"]) == sorted(map(len, files))
    assert (kept["scan"] < kept["size"] - 150).all()
    benchmark.main(["report", "--cache", str(tmp_path), "--picture", str(tmp_path / "curves.png")])
    assert "8 images" in capsys.readouterr().out
    assert (tmp_path / "curves.png").stat().st_size > 1000


def _images(folder):
    return [Image.open(file) for file in sorted(folder.rglob("*.png"))]


def test_pixels_of_other_decoders_are_compared_with_pillows(folder, tmp_path, capsys, monkeypatch):
    steps = Quantisation((30,) * 64, (30,) * 64, "4:4:4")
    (tmp_path / "t.json").write_text(json.dumps(TableSet("t", {50: steps}).to_json()))

    def read(file, options):
        with Image.open(file) as opened:
            return np.asarray(opened)

    readers = {"same": read, "other": lambda *given: read(*given) // 2 * 2, "djpeg": table_decoders._djpeg}
    monkeypatch.setattr(table_decoders, "_READERS", readers)
    table_decoders.main([str(folder), "--tables", str(tmp_path / "t.json")])
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[:4] == ["50", "4:4:4", "1", "equal"]
    assert row[-5:] == ["at", "most", "1", "not", "asked"]


def test_scan_is_what_follows_the_last_header():
    assert benchmark._scan_bytes(b"\xff\xd8\xff\xda\x00\x04ABscan\xff\xd9") == len("scan")


def test_share_and_rate_of_a_case_worked_by_hand(tmp_path):
    """Original 1.0, standard 0.5 at 100 bytes and 0.75 at 200; tuned the same at half of the bytes."""
    right = {"original": 100, f"{STANDARD}-25": 50, f"{STANDARD}-50": 75, "mine-25": 50, "mine-50": 75}
    size = {"original": 0, f"{STANDARD}-25": 100, f"{STANDARD}-50": 200, "mine-25": 50, "mine-50": 100}
    for view, count in right.items():
        columns = {name: np.full(100, size[view], dtype=float) for name in ("size", "scan")}
        correct = np.arange(100) < count
        np.savez(tmp_path / f"{view}.npz", correct=correct.astype(float), psnr=[], ssim=[], **columns)
    text = benchmark.report(tmp_path)
    [row] = [line for line in text.splitlines() if line.startswith("mine ")]
    assert "-50.0 [" in row
    assert "0.50 [" in row
