from dataclasses import replace

import pandas as pd
import pytest
import torch

from bench.outcomes import Outcomes
from bench.runs.table import COLUMNS, per_image_csv, screen_table


@pytest.fixture
def outcomes():
    torch.manual_seed(0)
    index, labels = torch.tensor([5, 2, 9]), torch.tensor([0, 1, 2])
    none, some = torch.full((3,), -1), torch.tensor([700, 800, 900])
    return {
        "original": Outcomes.from_logits(torch.randn(3, 4), labels, index, encoded_bytes=none),
        "jpeg-75": replace(
            Outcomes.from_logits(torch.randn(3, 4), labels, index, encoded_bytes=some),
            bits_per_pixel=torch.tensor([0.1, 0.2, 0.3]),
            psnr=torch.tensor([30.0, torch.inf, torch.nan]),
            ssim=torch.tensor([0.9, 1.0, torch.nan]),
        ),
    }


def test_pandas_reads_the_table_back_without_loss(outcomes, tmp_path):
    file = tmp_path / "images.csv"
    paths = {5: "a, b.png", 2: None, 9: 'q"uote.png'}
    file.write_text("".join(per_image_csv(outcomes, paths.get)))
    table = pd.read_csv(file)
    assert tuple(table.columns) == COLUMNS
    assert table["index"].tolist() == [2, 2, 5, 5, 9, 9]
    assert table["view"].tolist() == ["original", "jpeg-75"] * 3
    assert table["path"].fillna("").tolist() == ["", "", "a, b.png", "a, b.png", 'q"uote.png', 'q"uote.png']
    rows = table[table["view"] == "jpeg-75"]
    view = outcomes["jpeg-75"].select(torch.tensor([1, 0, 2]))
    assert rows["loss"].astype("float32").tolist() == view.loss.tolist()
    assert rows["probability"].astype("float32").tolist() == view.probability.tolist()
    assert rows["encoded_bytes"].tolist() == [800, 700, 900]
    for column in ("bits_per_pixel", "psnr", "ssim"):
        assert rows[column].astype("float32").tolist() == pytest.approx(
            getattr(view, column).tolist(), nan_ok=True, abs=0
        )
    unknown = table[table["view"] == "original"][["encoded_bytes", "bits_per_pixel", "psnr", "ssim"]]
    assert unknown.isna().all(axis=None)


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


def test_screen_table_has_a_column_per_view():
    record = {
        "images": 10,
        "skipped": [],
        "metrics": {
            "original": {"precision": 0.75},
            "jpeg-25": {"precision": 0.5, "drop": 0.25, "encoded_bytes": 912.4, "psnr": 30.125},
        },
        "model": {"encoder": "RN50", "pretrained": "openai"},
        "data": {"name": "cifar10", "split": "test", "class_names": ["a", "b"]},
    }
    assert screen_table(record).splitlines() == [
        "RN50 (openai) on cifar10/test, 10 images, 2 classes",
        "",
        "                 original  jpeg-25",
        "precision          0.7500   0.5000",
        "drop                        0.2500",
        "bytes per image                912",
        "PSNR (dB)                    30.12",
    ]
