"""The benchmark of faithfulness in miniature, on the demo: what it prints, keeps and draws."""

import re

import numpy as np
import pytest

from benchmarks.faithfulness import main
from benchmarks.faithfulness_tables import means

MAPS = ["|error|", "Grad-ECLIP"]


@pytest.fixture(autouse=True)
def _at_the_root(repository, monkeypatch):
    monkeypatch.chdir(repository)


def test_prints_a_row_per_map_keeps_what_it_measured_and_draws_it(tmp_path, capsys):
    command = ["--images", "4", "--randomised", "2", "--at-once", "4", "--steps", "2", "--keep", str(tmp_path / "kept")]
    command += ["--maps", *MAPS, "--picture", str(tmp_path / "curves.png")]
    main(command)
    shown = capsys.readouterr().out
    blocks, frequencies, stages, everything = re.split(r"\n(?=8 x 8|frequencies \(|Rank|Similarity)", shown)[1:]
    for name in ("random order", "|error|"):
        assert name in blocks
        assert name in frequencies
    assert "Grad-ECLIP" in blocks
    assert "Grad-ECLIP" not in frequencies
    assert [line.split()[0] for line in stages.splitlines()[3:10] if line] == [
        "head", *(f"transformer.resblocks.{block}" for block in (3, 2, 1, 0)), "stem",
    ]  # fmt: skip
    assert "1.000 [1.000, 1.000]" in everything  # |error| knows no model
    assert (tmp_path / "curves.png").stat().st_size > 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    main([*command[:-2], "--minutes", "0"])  # nothing is left to begin
    again = capsys.readouterr().out
    assert again.splitlines()[2:] == shown.splitlines()[2:]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == kept


def test_stops_in_time_and_says_so(capsys):
    main(["--images", "2", "--minutes", "0"])
    assert "goes on" in capsys.readouterr().out


def test_means_leave_out_what_is_not_defined():
    (estimate,) = means(np.array([[1.0], [np.nan], [3.0], [2.0]]))
    assert estimate.value == 2
    assert 1 <= estimate.interval.low < 2 < estimate.interval.high <= 3
    (nothing,) = means(np.full((3, 1), np.nan))
    assert np.isnan(nothing.value)


@pytest.mark.slow
def test_all_maps_run_on_the_demo(capsys):
    main(["--images", "4", "--randomised", "2"])
    assert "single repairs" in capsys.readouterr().out
