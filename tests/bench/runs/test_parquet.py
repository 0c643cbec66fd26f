"""The per-image table in Parquet says what the CSV says."""

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("pyarrow", reason="an extra")

import pyarrow as pa
import pyarrow.parquet

from bench.outcomes import Outcomes
from bench.runs import images, parquet
from bench.runs.files import FileError
from bench.runs.folder import load_run
from bench.runs.images import read_columns, read_images
from bench.runs.parquet import read_parquet, write_parquet
from bench.runs.table import per_image_csv
from tests.support.made_up import nested, run_record, write_run

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


def test_a_class_may_be_called_like_a_number_or_like_nothing(tmp_path):
    names = ("007", "NA", "null")
    outcomes = made_up()
    (tmp_path / "images.csv").write_text("".join(per_image_csv(outcomes, lambda index: "NA", names)))
    write_parquet(tmp_path / "images.parquet", outcomes, lambda index: "NA", names)
    for file in tmp_path.iterdir():
        found = read_images(file)
        rows = zip(found["predicted_class"], found["runner_up_class"], found["path"], strict=True)
        assert {text for row in rows for text in row} == {*names, "NA"}


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


THREE = pa.array([0, 1, 2], pa.int32())
NO_PATHS = pa.nulls(3, pa.string())
NO_UTF8 = pa.array(3 * [b"\xff"])


def run_with(folder, table, **options):
    """A run of three images and one view whose table is what it is given."""
    write_run(folder / "run", run_record(nested({"original": 3}, 3)))
    run = load_run(folder / "run")
    pa.parquet.write_table(table, run.folder.parquet_table, **options)
    return run


def columns(**others):
    known = {"index": THREE, "label": THREE, "prediction": THREE, "view": pa.array(3 * ["original"]), "path": NO_PATHS}
    return list({**known, **others}.items())


def test_a_table_of_another_writer_is_read(tmp_path):
    run = run_with(tmp_path, pa.table(dict(columns(index=pa.array([0, 1, 2], pa.int64())))))
    assert read_columns(run, ())[1]["original"]["correct"].tolist() == [1, 1, 1]
    assert read_images(run.folder.table)["view"].tolist() == 3 * ["original"]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([*columns(), ("view", pa.array(3 * ["original"]))], "it has two columns view"),
        ([*columns(), ("index", THREE)], "it has two columns index"),
        (columns(view=NO_UTF8), "its column view holds binary"),
        (columns(view=pa.Array.from_buffers(pa.string(), 3, NO_UTF8.buffers())), "."),
        (columns(view=pa.array(3 * [["original"]])), "its column view holds list"),
        (columns(prediction=pa.array(3 * [True])), "its column prediction holds bool"),
        (columns(index=pa.array([0, 1, 2], pa.duration("s"))), "its column index holds duration"),
        (columns()[:3], "it has no column view"),
        ([(name, column[:0]) for name, column in columns()], "no rows|No objects"),
    ],
)
def test_a_malformed_table_is_refused_in_one_line(tmp_path, table, reason):
    run = run_with(tmp_path, pa.Table.from_arrays([column for _, column in table], [name for name, _ in table]))
    for read in (lambda: read_columns(run, ()), lambda: read_images(run.folder.table)):
        with pytest.raises(FileError, match=f"cannot be used: .*({reason})") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_rows_beyond_those_of_the_record_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_ROWS_AT_ONCE", 2)
    zeros, views = pa.array(np.zeros(10**5, np.int32)), pa.array(10**5 * ["original"])
    run = run_with(tmp_path, pa.table({"index": zeros, "label": zeros, "prediction": zeros, "view": views}))
    blocks = []

    def counted(*given):
        for block in read_parquet(*given):
            blocks.append(len(block))
            yield block

    monkeypatch.setattr(images, "read_parquet", counted)
    with pytest.raises(FileError, match="it has more rows than 3 images in 1 views"):
        read_columns(run, ())
    assert blocks == [2, 2]


def test_a_long_name_of_a_view_is_held_once(tmp_path):
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(300, np.int32)), ["x" * 2**20]).cast(pa.string())
    zeros = pa.array(np.zeros(300, np.int32))
    table = pa.table({"index": zeros, "label": zeros, "prediction": zeros, "view": names})
    run = run_with(tmp_path, table, dictionary_pagesize_limit=2**24, write_statistics=False)
    del table, names
    before = pa.total_allocated_bytes()
    block = next(read_parquet(run.folder.table, 300))
    assert isinstance(block["view"].dtype, pd.CategoricalDtype)
    assert pa.total_allocated_bytes() - before < 2**24
