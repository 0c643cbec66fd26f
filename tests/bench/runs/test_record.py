"""Records of runs: written and read back, older ones, and everything that is refused."""

import copy
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.runs.files import FileError, write_atomically
from bench.runs.finetuning_record import Export, FineTuningRecord, Training, TrainingViews
from bench.runs.folder import RunFolder, load_run
from bench.runs.json_values import Value, differences, plain
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.record import RunInfo, RunRecord, Skipped
from bench.runs.view_record import ClassCounts, Confusion, ViewRecord, whole_count
from tests.support import made_up

PREDICTIONS = made_up.nested({"original": 90, "jpeg-50": 70}, 100)
RECORD = made_up.run_record(PREDICTIONS, root="pictures", model={"mean": [0.5, 0.25]})
FIT = FineTuningRecord(
    name="robust",
    method={"objective": {"name": "Consistency", "label_free": True}, "trainable": None},
    original=ModelRecord("RN50", "openai"),
    templates=("a {}.",),
    training=Training(
        TrainingViews({"jpeg-{}": (10, 95)}, "Uniform", 0.0, 0.5),
        2,
        10,
        64,
        1,
        "32-true",
        {"name": "ExponentialAverage", "decay": 0.99},
        1.0,
        "norm",
    ),
    data=DataRecord("cifar10", "train", ("cat", "dog")),
    images_per_class={"cat": 3, "dog": 4},
    validation_images=5,
    seed=0,
    seed_everything="1",
    frozen_sha256="f",
    interpolation={0.0: {"original": {"precision": 0.5}}, 1.0: {"original": {"precision": 0.75}}},
    exports=(Export(1.0, True, "encoder.safetensors", "e"),),
    software=SoftwareRecord(),
    run=RunInfo("fit", processes=1, seconds=1.5),
    validation_every=2,
)

FIRST_SCHEMA = """{
 "schema": 1, "images": 4,
 "metrics": {
  "original": {"precision": 0.75, "precision_macro": 0.8, "precision_per_class": [0.5, null, 1.0], "loss": 0.5,
               "recall_per_class": [1.0, 0.0, 1.0], "confusion": [[1, 0, 0], [1, 0, 0], [0, 0, 2]]},
  "jpeg-50": {"precision": 0.5, "precision_macro": null, "precision_per_class": [0.3333333432674408, null, 1.0],
              "recall_per_class": [1.0, 0.0, 0.5], "confusion": [[1, 0, 0], [1, 0, 0], [1, 0, 1]],
              "flip_rate": 0.25, "broken": 0.25, "repaired": 0.0, "drop": 0.25, "loss_increase": 0.1}
 },
 "model": {"encoder": "RN50", "pretrained": "openai", "templates": ["a {}."], "compiled": false},
 "data": {"name": "pets", "split": "test", "class_names": ["cat", "dog", "hen"], "views": ["original", "jpeg-50"]},
 "software": {"packages": {"torch": "2.6"}, "libjpeg_turbo": "3.0", "codecs": {"WebP": "1.4", "AVIF": null}},
 "skipped": [{"index": 7, "path": "a.png", "reason": "cut off"}],
 "run": {"command": "test", "seconds": 2.0}
}"""


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    record = made_up.run_record(PREDICTIONS, root="pictures", limit=100, indices=list(range(100)))
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == RunRecord.read(RunFolder(tmp_path).results) == record
    assert load_run(tmp_path).record == record
    assert record.data.further == {"root": "pictures"}


def test_predictions_without_labels_have_no_classes(tmp_path):
    views = {"original": ViewRecord({"confidence": 0.5}), "jpeg-50": ViewRecord({"flip_rate": 0.25}, flipped=1)}
    record = RunRecord(4, views, RECORD.model, RECORD.data, RECORD.software, RunInfo("predict"))
    record.write(tmp_path)
    found = RunRecord.read(tmp_path)
    assert found == record
    assert (found.labelled, found.views["jpeg-50"].correct) == (False, None)


def test_metrics_stay_where_users_know_them_and_what_is_not_defined_is_null(tmp_path):
    views = {"original": ViewRecord({"confidence": 0.5, "psnr": float("inf"), "ssim": float("nan")})}
    RunRecord(4, views, RECORD.model, RECORD.data, RECORD.software, RunInfo("predict")).write(tmp_path)
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert written["metrics"]["original"] == {"confidence": 0.5, "psnr": None, "ssim": None}
    assert RunRecord.read(tmp_path).views["original"].metrics == {"confidence": 0.5}


def test_a_record_of_schema_1_is_read_as_counts(tmp_path):
    (tmp_path / "results.json").write_text(FIRST_SCHEMA)
    record = RunRecord.read(tmp_path)
    assert record.class_images == (1, 1, 2)
    assert record.views["original"] == ViewRecord(
        {"precision": 0.75, "precision_macro": 0.8, "loss": 0.5}, classes=ClassCounts((1, 0, 2), (2, 0, 2))
    )
    assert record.views["jpeg-50"] == ViewRecord(
        {"precision": 0.5, "flip_rate": 0.25, "broken": 0.25, "repaired": 0.0, "drop": 0.25, "loss_increase": 0.1},
        flipped=1,
        broken=1,
        classes=ClassCounts((1, 0, 1), (3, 0, 1), (Confusion(2, 0, 0, 1),)),
    )
    assert record.views["jpeg-50"].classes.precision == pytest.approx((1 / 3, np.nan, 1), nan_ok=True)
    assert record.views["jpeg-50"].classes.recall(record.class_images) == (1, 0, 0.5)
    assert record.skipped == (Skipped(7, "a.png", "cut off"),)
    assert record.model.further == {"compiled": False}
    assert record.software.codec_versions == {"JPEG": "3.0", "WebP": "1.4"}
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record


def test_a_record_of_12_views_and_1000_classes_stays_under_a_megabyte(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.multinomial(50_000, np.full(1000, 1e-3))
    views = {}
    for view in ["original", *(f"jpeg-{quality}" for quality in range(5, 60, 5))]:
        right = rng.binomial(images, 0.6)
        predicted = right + rng.multinomial(50_000 - right.sum(), np.full(1000, 1e-3))
        pairs = tuple(Confusion(n, n + 1, 0, 1) for n in range(10) if images[n])
        classes = ClassCounts(tuple(right.tolist()), tuple(predicted.tolist()), pairs)
        metrics = {f"metric_{n}": float(x) for n, x in enumerate(rng.random(15))} | {"precision": right.sum() / 50_000}
        views[view] = ViewRecord(metrics, classes=classes)
    names = [f"a class name of some length {n}" for n in range(1000)]
    data = DataRecord("imagenet", "val", tuple(names), tuple(views))
    RunRecord(
        50_000, views, RECORD.model, data, RECORD.software, RunInfo("test"), tuple(images.tolist())
    ).write(tmp_path)  # fmt: skip
    assert (tmp_path / "results.json").stat().st_size < 1_000_000


def test_a_record_of_a_fit_is_read_back_as_it_was_written(tmp_path):
    FIT.write(tmp_path)
    assert FineTuningRecord.read(tmp_path) == FIT == RunFolder(tmp_path).finetuning_record()
    assert (FIT.before, FIT.after) == ({"original": {"precision": 0.5}}, {"original": {"precision": 0.75}})


def changed(content, keys, value):
    """JSON text in which one entry is another; None takes it out."""
    content = copy.deepcopy(content)
    *way, last = keys.split("/")
    part = content
    for key in way:
        part = part[int(key) if isinstance(part, list) else key]
    if value is None:
        del part[last]
    else:
        part[int(last) if isinstance(part, list) else last] = value
    return json.dumps(content)


def test_an_older_record_of_a_fit_does_not_say_which_images_it_held_out(tmp_path):
    (tmp_path / "finetuning.json").write_text(changed(plain(FIT.to_json()), "validation_every", None))
    assert FineTuningRecord.read(tmp_path) == replace(FIT, validation_every=None)


def test_an_older_record_of_a_fit_does_not_say_how_it_averaged_and_clipped_and_is_written_as_it_was(tmp_path):
    content = plain(FIT.to_json())
    for name in ("moving_average", "gradient_clip_val", "gradient_clip_algorithm"):
        del content["training"][name]
    (tmp_path / "finetuning.json").write_text(json.dumps(content))
    found = FineTuningRecord.read(tmp_path)
    assert (found.training.moving_average, found.training.gradient_clip_val) == (None, None)
    assert plain(found.to_json()) == content
    assert differences(found.recipe(1.0), FIT.recipe(1.0)) == [
        "training.moving_average", "training.gradient_clip_val", "training.gradient_clip_algorithm"
    ]  # fmt: skip


def refusal(kind, folder, text):
    path = folder / ("results.json" if kind is RunRecord else "finetuning.json")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileError) as caught:
        kind.read(folder)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        ("schema", None, "schema is missing: not a result of this program"),
        ("schema", 3, "schema is 3, and this program reads 1 and 2"),
        ("schema", "2", "schema is str instead of a whole number"),
        ("images", 0, "images is 0: nothing was measured"),
        ("images", True, "images is bool"),
        ("images", 99, "classes/images is no list of whole numbers from 0 to 99|classes/images has 100 images in all"),
        ("metrics", None, "metrics is missing"),
        ("metrics/original", None, "metrics/original is missing"),
        ("metrics/original/precision", None, "metrics/original/precision is missing"),
        ("metrics/original/precision", 1e308, "metrics/original/precision is out of range: 1e\\+308"),
        ("metrics/original/precision", 0.905, "metrics/original/precision is 0.905, not a whole number of 100 images"),
        ("metrics/original/precision", 0.91, "metrics/original/precision is 0.91, but the counts say 90 of 100"),
        ("metrics/jpeg-50/drop", 0.25, "metrics/jpeg-50/drop is 0.25, but the counts say 0.2"),
        ("metrics/jpeg-50/loss", [1], "metrics/jpeg-50/loss is list instead of a number"),
        ("metrics/jpeg-50/$x$", 0.5, "which is no name of a metric"),
        ("metrics/$\\bad{$", {}, "no name of a view"),
        ("metrics/\x1b[31m", {}, "no name of a view"),
        ("counts/jpeg-50", None, "counts/jpeg-50 is missing"),
        ("counts/jpeg-50/broken", 21, "21 broken and 0 repaired, but 20 flipped|but the counts say"),
        ("counts/jpeg-50/flipped", -1, "counts/jpeg-50/flipped is out of range: -1 is not from 0 to 100"),
        ("counts/original/flipped", 1, "the original cannot differ from itself"),
        ("classes/views/jpeg-50/correct/3", 1e308, "correct is no list of whole numbers"),
        ("classes/views/jpeg-50/correct/3", 99, "has more than `images` of a class"),
        ("classes/views/jpeg-50/predicted/3", 99, "images in all instead of 100"),
        ("classes/views/jpeg-50/predicted", [100], "has 1 elements instead of 10"),
        ("classes/views/jpeg-50/confusions/0", [0, 0, 0, 1], "names classes 0 and 0, of classes 0 to 9"),
        ("classes/views/jpeg-50/confusions/0", [0, 11, 0, 1], "names classes 0 and 11"),
        ("classes/views/jpeg-50/confusions/0", [0, 1, 3, 2], "says 3 before and 2 after"),
        ("data/class_names", "cats", "data/class_names is str instead of a list"),
        ("data/class_names", [1], "data/class_names is no list of texts"),
        ("data/class_names", [], "data/class_names is empty"),
        ("data/name", "n" * 300, "data/name has 300 characters"),
        ("model/encoder", None, "model/encoder is missing"),
        ("software", 3, "software is int instead of a mapping"),
        ("software/codecs", {"JPEG": 3}, "software/codecs/JPEG is int"),
        ("software/codecs", ["JPEG"], "software/codecs is list"),
        ("attribution", "much", "attribution is str instead of a mapping"),
        ("skipped", {"index": 1}, "skipped is dict instead of a list"),
        ("run/seconds", "long", "run/seconds is str instead of a number"),
        ("data/root", "\ud800", "text that is no UTF-8"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused_with_the_key(tmp_path, keys, value, reason):
    found = refusal(RunRecord, tmp_path, changed(plain(RECORD.to_json()), keys, value))
    assert re.search(reason, found), found


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        ("exports", None, "exports is missing"),
        ("exports", [], "exports is empty"),
        ("exports/0/file", "../../.bashrc", "exports/0/file is no file name"),
        ("exports/0/alpha", 2, "exports/0/alpha is 2.0, not a share"),
        ("method/objective", "loss", "method/objective is str"),
        ("training/views/codecs", {"jpeg-{}": 3}, "training/views/codecs/jpeg-{} is int instead of a list"),
        ("seeds", 0, "seeds is int instead of a mapping"),
        ("interpolation", [], "interpolation lacks the original"),
        ("interpolation/0/metrics/jpeg-50", {"loss": 1.0}, "interpolation/0/metrics/jpeg-50/precision is missing"),
        ("schema", 7, "schema is 7"),
        ("training/moving_average", {"decay": 0.5}, "training/moving_average/name is missing"),
        ("training/gradient_clip_val", "1", "training/gradient_clip_val is str instead of a number"),
        ("validation_every", 0, "validation_every is out of range: 0"),
    ],
)
def test_a_record_of_a_fit_is_refused_with_the_key(tmp_path, keys, value, reason):
    assert reason in refusal(FineTuningRecord, tmp_path, changed(plain(FIT.to_json()), keys, value))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("[[1, 0, 0], [1, 0, 0], [0, 0, 2]]", "[[1]]"), "metrics/original/confusion has 1 rows instead of 3"),
        (("[[1, 0, 0], [1, 0, 0], [0, 0, 2]]", '"?"'), "metrics/original/confusion is str"),
        (("[1, 0, 1]]", "[1, 0, 1e308]]"), "metrics/jpeg-50/confusion/2 is no list of whole numbers"),
        (("[1, 0, 1]]", "[1, 0, 2]]"), "metrics/jpeg-50/confusion has 5 images instead of 4"),
        (("[1, 0, 1]]", "[0, 0, 2]]"), "metrics/jpeg-50/confusion has 3 right"),
        (('"broken": 0.25, ', ""), "metrics/jpeg-50/broken is missing"),
        (('"broken": 0.25', '"broken": 0.123'), "metrics/jpeg-50/broken is 0.123, not a whole number of 4 images"),
        (('"broken": 0.25', '"broken": 0.5'), "2 broken and 0 repaired, but 1 flipped"),
        (('"precision": 0.75, ', ""), "metrics/original/precision is missing"),
    ],
)
def test_a_record_of_schema_1_is_refused_with_the_key(tmp_path, change, reason):
    assert change[0] in FIRST_SCHEMA
    assert reason in refusal(RunRecord, tmp_path, FIRST_SCHEMA.replace(*change))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no JSON, or cut off"),
        ("null", "its content is NoneType"),
        ("[1]", "its content is list"),
        (json.dumps(RECORD.to_json())[:500], "no JSON, or cut off"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"schema": NaN}', "NaN is no JSON"),
        ('{"schema": %s}' % ("9" * 5000), "no JSON, or cut off"),
        ("[" * 1_100_000, "more than"),
        (b"\xff\xfe", "no UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused_in_one_line(tmp_path, content, reason):
    assert reason in refusal(RunRecord, tmp_path, content)


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ({"objective": {"label_free": True}, "trainable": None}, "objective/name"),
        ({"objective": {"name": "Sum", "label_free": True, "terms": [{}]}, "trainable": None}, "terms/0/name"),
        ({"objective": {"name": "Sum", "label_free": True}, "trainable": {"name": 5}}, "trainable/name"),
        ({"objective": {"name": "Sum", "label_free": True}, "trainable": {"name": "x" * 9999}}, "trainable/name"),
        ({"objective": {"name": "Sum", "label_free": True}}, "trainable"),
    ],
)  # fmt: skip
def test_a_fit_whose_choices_cannot_be_told_is_refused_with_the_key(tmp_path, method, key):
    assert key in refusal(FineTuningRecord, tmp_path, json.dumps(plain(replace(FIT, method=method).to_json())))


@pytest.mark.parametrize(
    ("old", "new"), [('"loss": 0.5', '"loss": 0.6'), ("cifar10", "cifar20"), ("openai", "open_ai")]
)
def test_a_number_changed_by_hand_is_noticed_though_it_contradicts_nothing(tmp_path, old, new):
    RECORD.write(tmp_path)
    content = (tmp_path / "results.json").read_text()
    assert old in content
    assert "checksum is not that of the content" in refusal(RunRecord, tmp_path, content.replace(old, new))


@given(st.integers(1, 1_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_float32_share_gives_back_its_count(counts):
    count, n = counts
    assert whole_count(Value(float(np.float32(count / n)), Path("run")), n) == count


@pytest.mark.parametrize("share", [0.12345, -0.1, 1.1, math.nan, math.inf])
def test_a_share_that_is_no_whole_number_is_refused(share):
    with pytest.raises(FileError, match=r"not a whole number of 1000 images|out of range"):
        whole_count(Value(share, Path("run")), 1000)


@pytest.mark.parametrize("what", ["folder", "pipe", "device", "link to a device", "link to nothing"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, what):
    file = tmp_path / "results.json"
    if what == "folder":
        file.mkdir()
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file = type(file)(os.devnull)
    else:
        file.symlink_to("/dev/zero" if what == "link to a device" else "nowhere")
    with pytest.raises(FileError, match="not a regular file"):
        RunRecord.read(file if what == "device" else tmp_path)


def test_a_link_to_a_record_is_read(tmp_path):
    (tmp_path / "real").mkdir()
    RECORD.write(tmp_path / "real")
    (tmp_path / "results.json").symlink_to(tmp_path / "real/results.json")
    assert RunRecord.read(tmp_path) == RECORD


def test_a_missing_record_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        RunRecord.read(tmp_path)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "results.json"
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "new \udcff")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_file_name_that_is_no_text_is_recorded_all_the_same(tmp_path):
    skipped = (Skipped(3, "caf\udce9.png", "cut off"),)
    RunRecord(**{**vars(RECORD), "skipped": skipped}).write(tmp_path)
    assert RunRecord.read(tmp_path).skipped == (Skipped(3, "caf\\udce9.png", "cut off"),)


@pytest.mark.parametrize("view", ["vvc_qp32", "jpeg-tables-my_tables-50", "resize-0.5+jpeg-50"])
def test_whatever_name_a_view_may_have_is_read_back(tmp_path, view):
    predictions = made_up.nested({"original": 90, view: 70}, 100)
    file = made_up.write_run(tmp_path / "run", made_up.run_record(predictions), predictions)
    assert list(load_run(file).record.views) == ["original", view]
