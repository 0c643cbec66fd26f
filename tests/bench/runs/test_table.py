"""The per-image table and the one on the screen."""

import csv
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.outcomes import REPEATABLE, Outcomes
from bench.runs.files import FileError
from bench.runs.folder import load_run
from bench.runs.images import read_columns, read_images
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.record import RunInfo, RunRecord
from bench.runs.table import per_image_csv, screen_table
from bench.runs.view_record import ViewRecord
from tests.support import made_up

LARGE = "9" * 1_000_000


@pytest.fixture
def outcomes():
    torch.manual_seed(0)
    index, labels = torch.tensor([5, 2, 9]), torch.tensor([0, 1, 2])
    return {
        "original": Outcomes.from_logits(torch.randn(3, 4), labels, index),
        "jpeg-75": replace(
            Outcomes.from_logits(torch.randn(3, 4), labels, index, encoded_bytes=torch.tensor([700, 800, 900])),
            bits_per_pixel=torch.tensor([0.1, 0.2, 0.3]),
            psnr=torch.tensor([30.0, torch.inf, torch.nan]),
            ssim=torch.tensor([0.9, 1.0, torch.nan]),
        ),
    }


@pytest.fixture
def file(tmp_path):
    return tmp_path / "images.csv"


def test_every_quantity_is_read_back_without_loss(outcomes, file):
    paths = {5: "a, b.png", 2: None, 9: 'q"uote.png'}
    file.write_text("".join(per_image_csv(outcomes, paths.get)))
    table = read_images(file)
    assert set(table.columns) == {"path", "view", *(quantity.name for quantity in REPEATABLE)}
    assert table["index"].tolist() == [2, 2, 5, 5, 9, 9]
    assert table["view"].tolist() == ["original", "jpeg-75"] * 3
    assert table["path"].fillna("").tolist() == ["", "", "a, b.png", "a, b.png", 'q"uote.png', 'q"uote.png']
    for view, rows in outcomes.items():
        found, order = table[table["view"] == view], [1, 0, 2]
        for quantity in REPEATABLE:
            column = found[quantity.name]
            values = column.fillna(-1).astype("int32") if quantity.dtype == "int32" else column
            np.testing.assert_array_equal(values.to_numpy(), getattr(rows, quantity.name)[order].numpy())
            assert str(column.dtype) == {"int32": "Int32"}.get(quantity.dtype, quantity.dtype)


def test_times_do_not_show_in_the_table(outcomes):
    timed = {view: replace(rows, encode_ms=torch.rand(3), decode_ms=torch.rand(3)) for view, rows in outcomes.items()}
    assert list(per_image_csv(timed, {}.get)) == list(per_image_csv(outcomes, {}.get))


def test_an_older_table_without_the_newer_columns_is_read(file):
    file.write_text("index,path,label,view,prediction,encoded_bytes\n3,,1,original,2,\n")
    table = read_images(file)
    assert table["encoded_bytes"].isna().all()
    assert table.loc[0, ["index", "label", "prediction"]].tolist() == [3, 1, 2]


def test_without_labels_the_classes_are_named(outcomes, file):
    names = ["cat", "=HYPERLINK(1)", "cow, brown", "dog"]
    file.write_text("".join(per_image_csv(outcomes, {}.get, names)))
    table = read_images(file)
    shown = ["cat", "'=HYPERLINK(1)", "cow, brown", "dog"]
    assert table["predicted_class"].tolist() == [shown[label] for label in table["prediction"]]
    assert table["runner_up_class"].tolist() == [shown[label] for label in table["runner_up"]]
    assert "predicted_class" not in next(per_image_csv(outcomes, {}.get))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=1+1.png", "'=1+1.png"),
        ("+1.png", "'+1.png"),
        ("-1.png", "'-1.png"),
        ("@SUM(1).png", "'@SUM(1).png"),
        ("\t=1.png", "\\t=1.png"),
        ("\x1b[31m.png", "\\x1b[31m.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("caf\udce9.png", "caf\\udce9.png"),
        ("a\nb.png", "a\\nb.png"),
        ("a=b-c.png", "a=b-c.png"),
    ],
)
def test_no_file_name_is_a_formula_or_a_command(outcomes, file, name, shown):
    file.write_bytes("".join(per_image_csv(outcomes, lambda index: name)).encode())
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == [shown] * 6
    assert [float(row["psnr"]) for row in rows if row["psnr"]] == [float("inf"), 30]


def test_table_does_not_depend_on_the_order_of_the_rows(outcomes):
    paths = {2: "x", 5: "y", 9: "z"}
    shuffled = {view: rows.select(torch.tensor([2, 0, 1])) for view, rows in outcomes.items()}
    assert list(per_image_csv(outcomes, paths.get)) == list(per_image_csv(shuffled, paths.get))


def test_pieces_of_the_table_are_the_table(outcomes, monkeypatch):
    paths = {2: "x", 5: "y", 9: "z"}
    header, *whole = per_image_csv(outcomes, paths.get)
    monkeypatch.setattr("bench.runs.table._IMAGES_AT_ONCE", 2)
    pieces = list(per_image_csv(outcomes, paths.get))
    assert len(whole) == 1
    assert [piece.count("\n") for piece in pieces] == [1, 4, 2]
    assert "".join(pieces) == header + whole[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "No columns"),
        ("index,label,view,prediction\n1,0,original,x\n", "invalid|Unable to parse|cannot"),
        (
            f"index,label,view,prediction\n{'9' * 1_000_000},0,original,1\n",
            "out of bounds|too large|safely|cannot|parse|digits",
        ),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(file, content, reason):
    file.write_text(content)
    with pytest.raises(FileError, match=reason) as caught:
        read_images(file)
    assert len(caught.value.reason) < 300
    assert "\n" not in caught.value.reason


class TestReadingForTheReport:
    PREDICTIONS = made_up.nested({"original": 9, "jpeg-50": 7}, 10)

    def run(self, folder, **options):
        record = made_up.run_record(self.PREDICTIONS, **options)
        return load_run(made_up.write_run(folder / "run", record, self.PREDICTIONS, **options))

    def test_columns_are_those_of_the_images(self, tmp_path):
        found = read_columns(self.run(tmp_path, sizes={"jpeg-50": np.arange(10) + 500}), ("encoded_bytes", "loss"))[1]
        assert found["jpeg-50"]["encoded_bytes"].tolist() == list(range(500, 510))
        assert np.isnan(found["original"]["encoded_bytes"]).all()
        assert found["jpeg-50"]["correct"].tolist() == [1] * 7 + [0] * 3
        assert {column.dtype for column in found["original"].values()} == {np.dtype("float32")}

    def test_a_column_that_an_older_table_lacks_is_named(self, tmp_path):
        with pytest.raises(FileError, match="cosine"):
            read_columns(self.run(tmp_path), ("cosine",))

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("\n9,,9,jpeg-50,0", "\n9,,9,jpeg-50,9", "8 of 10 images right in jpeg-50, the result file 7 of 10"),
            ("\n9,,9,jpeg-50,0", "\n8,,9,jpeg-50,0", "other images in one view than in another"),
            ("\n9,,9,jpeg-50,0", "\n9,,9,jpeg-50,many", "many|invalid"),
            ("\n9,,9,jpeg-50,0", f"\n9,,9,jpeg-50,{'9' * 10_000}", "cannot|out of bounds|large|invalid|integer|digits"),
        ],
    )
    def test_a_table_that_contradicts_the_record_is_refused(self, tmp_path, old, new, reason):
        run = self.run(tmp_path)
        content = run.folder.table.read_text()
        assert old in content
        run.folder.table.write_text(content.replace(old, new))
        with pytest.raises(FileError, match=reason):
            read_columns(run, ())

    @pytest.mark.parametrize("value", ["501", "-5", "", "9" * 400, "1e308", "inf"])
    def test_a_measurement_that_was_changed_or_is_missing_is_refused(self, tmp_path, value):
        run = self.run(tmp_path, sizes={"jpeg-50": 500})
        line = "\n9,,9,jpeg-50,0,0.5,0.5,0.5,0,500,"
        content = run.folder.table.read_text()
        assert line in content
        run.folder.table.write_text(content.replace(line, line.replace(",500,", f",{value},")))
        reason = "has a mean encoded_bytes of" if value else "lacks encoded_bytes of 1 of 10 images in jpeg-50"
        with pytest.raises(FileError, match=reason):
            read_columns(run, ("encoded_bytes",))

    def test_a_pipe_in_its_place_is_refused_at_once(self, tmp_path):

        run = self.run(tmp_path)
        run.folder.table.unlink()
        os.mkfifo(run.folder.table)
        with pytest.raises(FileError, match="not a regular file"):
            read_columns(run, ())


def test_names_on_the_screen_are_printable():
    views = {"original": ViewRecord({"precision": 0.75}), "x\x1b[2J": ViewRecord({"precision": 0.5})}
    model, data = ModelRecord("R\u202eN", "a/\x1b]0;b.pt"), DataRecord("c\x07", "t\u2028", ("a", "b"))
    table = screen_table(RunRecord(10, views, model, data, SoftwareRecord(), RunInfo("test")))
    assert table.replace("\n", "").isprintable()
    assert table.startswith("R\\u202eN (\\x1b]0;b.pt) on c\\x07/t\\u2028, 10 images, 2 classes\n\n")


def test_screen_table_has_a_column_per_view_and_nothing_noisy():
    jpeg = {"precision": 0.5, "drop": 0.25, "encoded_bytes": 912.4, "psnr": 30.125, "loss": 0.5, "encode_ms": 0.125}
    views = {"original": ViewRecord({"precision": 0.75}), "jpeg-25": ViewRecord(jpeg)}
    model, data = ModelRecord("RN50", "openai"), DataRecord("cifar10", "test", ("a", "b"))
    record = RunRecord(10, views, model, data, SoftwareRecord(), RunInfo("test"))
    assert screen_table(record).splitlines() == [
        "RN50 (openai) on cifar10/test, 10 images, 2 classes",
        "",
        "                 original  jpeg-25",
        "precision          0.7500   0.5000",
        "drop (points)                25.00",
        "loss (nats)                 0.5000",
        "bytes per image                912",
        "PSNR (dB)                    30.12",
    ]
