"""The per-image table in Parquet says what the CSV says."""

import pandas as pd
import pytest
import torch

pytest.importorskip("pyarrow", reason="an extra")

from bench.outcomes import Outcomes
from bench.runs import parquet
from bench.runs.files import FileError
from bench.runs.images import read_images
from bench.runs.parquet import read_parquet, write_parquet
from bench.runs.table import per_image_csv

NAMES = ("cat", "=dog", "fish")


def made_up(images=11):
    generator = torch.Generator().manual_seed(0)
    indices = torch.randperm(images, generator=generator)
    labels = torch.where(indices % 4 == 0, -1, indices % 3)
    found = {}
    for view in ("original", "jpeg-50"):
        logits = torch.randn(images, 3, generator=generator)
        sizes = {} if view == "original" else {"encoded_bytes": indices + 100, "psnr": torch.full((images,), torch.inf)}
        found[view] = Outcomes.from_logits(logits, labels, indices, **sizes)
    return found


@pytest.mark.parametrize("names", [(), NAMES])
def test_both_tables_are_equal(tmp_path, names, monkeypatch):
    monkeypatch.setattr(parquet, "_IMAGES_AT_ONCE", 4)
    outcomes = made_up()

    def path(index):
        return None if index == 3 else f"cat/{index}.png"

    (tmp_path / "images.csv").write_text("".join(per_image_csv(outcomes, path, names)))
    write_parquet(tmp_path / "images.parquet", outcomes, path, names)
    text, binary = (read_images(tmp_path / f"images.{ending}") for ending in ("csv", "parquet"))
    assert list(text) == list(binary)
    for name in text:
        if name in ("predicted_class", "runner_up_class"):  # as they are, for no spreadsheet opens this
            assert text[name].str.removeprefix("'").tolist() == binary[name].astype("str").tolist()
        else:
            pd.testing.assert_series_equal(text[name], binary[name], check_dtype=name not in ("path", "view"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "images.parquet").write_bytes(content)
    with pytest.raises(FileError, match="cannot be used"):
        list(read_parquet(tmp_path / "images.parquet", 10))


def test_a_table_that_lacks_a_column_is_refused(tmp_path):
    write_parquet(tmp_path / "images.parquet", made_up(), lambda index: None)
    with pytest.raises(FileError, match="it has no column taste"):
        list(read_parquet(tmp_path / "images.parquet", 10, ["index", "taste"]))
