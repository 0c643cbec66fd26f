import json

import pytest
import torch

from bench.runs.record import RESULTS, read_record, software, to_json, write_atomically, write_record
from datamodules.degradations import parse_all


def test_record_survives_writing_and_reading(tmp_path):
    write_record(tmp_path, {"metrics": {"original": {"precision": torch.tensor(0.5), "per_class": torch.ones(2)}}})
    assert read_record(tmp_path) == {"schema": 1, "metrics": {"original": {"precision": 0.5, "per_class": [1.0, 1.0]}}}
    assert read_record(tmp_path / RESULTS) == read_record(tmp_path)


def test_values_without_a_number_are_null_because_json_has_no_nan():
    assert json.loads(json.dumps(to_json({"a": torch.tensor([1.0, torch.nan])}), allow_nan=False)) == {"a": [1.0, None]}


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / RESULTS
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "new \udcff")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_software_names_the_codecs_at_work_and_no_others():
    assert set(software(parse_all(["webp-50+jpeg-75", "blur-1"]))["codecs"]) == {"WebP", "JPEG"}
    assert software()["codecs"] == {}


def test_software_names_everything_that_changes_pixels_or_logits():
    versions = software()
    assert versions["packages"]["torch"] == torch.__version__
    assert versions["libjpeg_turbo"]
    assert json.dumps(versions)
