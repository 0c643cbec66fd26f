"""The benchmark of a large run prints what each step took, of outcomes such as an encoder has."""

import re
import sys

import pytest

from bench.runs.folder import load_run
from benchmarks import many_images


@pytest.mark.slow
def test_every_step_says_its_seconds_memory_and_files_and_outcomes_are_plausible(tmp_path, monkeypatch, capfd):
    size = ["--images", "3000", "--views", "3", "--classes", "1000"]
    monkeypatch.setattr(sys, "argv", ["many_images", *size, "--keep", str(tmp_path)])
    many_images.main()
    printed = capfd.readouterr().out
    figures = r"[\d.]+ s, [\d.]+ s of processor time, peak memory [\d,]+ MiB"
    steps = re.findall(rf"^(.*): {figures}$", printed, flags=re.MULTILINE)
    assert steps == ["run 1", "run 2", "report of 1", "report of 2"]
    assert len(re.findall(r"^  pictures in TensorBoard: [\d.]+ s$", printed, flags=re.MULTILINE)) == 2
    assert len(re.findall(r"^ +[\d.]+ MB index.html$", printed, flags=re.MULTILINE)) == 2
    for encoder in ("demo-rn", "demo-vit"):
        views = load_run(tmp_path / "runs" / encoder).record.views
        assert 0.65 < views["original"].metrics["precision"] < 0.8
        assert 0 < views["jpeg-75"].metrics["drop"] < views["jpeg-50"].metrics["drop"] < 0.15
        assert 0.4 < views["original"].metrics["confidence"] < 0.8
        assert views["jpeg-75"].metrics["psnr"] > views["jpeg-50"].metrics["psnr"] > 25
