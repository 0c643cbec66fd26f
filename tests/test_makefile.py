"""What the Makefile promises."""

import shutil
import subprocess

import pytest


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_tensorboard_prints_an_address_without_smoothing_in_both_pages_that_smooth(repository):
    done = subprocess.run(
        ["make", "--dry-run", "tensorboard", "TENSORBOARD_PORT=7007"],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    # "Time Series" reads the query, "Scalars" the fragment; a change of page keeps both
    assert "http://localhost:7007/?smoothing=0#text&_smoothingWeight=0" in done.stdout
    assert "--logdir runs --port 7007" in done.stdout
