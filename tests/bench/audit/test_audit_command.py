import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.audit.bias import added_share
from bench.audit.dataset import Examined, dependence, sample_summary, summarise
from bench.audit.history import History
from bench.cli import main
from bench.report.sections.audit import in_one_line
from benchmarks.lossless_images import dead_leaves
from benchmarks.lossy_pasts import jpeg
from datamodules.folders import FolderSource


@pytest.fixture(scope="module")
def leaves():
    return [dead_leaves(32, 32, np.random.default_rng(seed), grain=2.0) // 2 + 64 for seed in range(24)]  # unclipped


@pytest.fixture
def folder(tmp_path, leaves, monkeypatch):
    """Class "cat" was JPEG before, class "dog" was not."""
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(leaves):
        place = tmp_path / "set" / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(jpeg(75)(image) if number % 2 else image).save(place / f"{number:02d}.png")
    return tmp_path / "set"


def audit(*options):
    with pytest.raises(SystemExit) as exit:
        main(["audit", *map(str, options)])
    assert not exit.value.code
    return json.loads(Path("audit/audit.json").read_text())


def rows():
    return list(csv.DictReader(Path("audit/audit.csv").read_text().splitlines()))


def test_a_codec_that_tells_the_class_is_found(folder, capsys):
    summary = audit(folder)
    counts = {name: (row["images"], row["lossy"]) for name, row in summary["by_class"].items()}
    assert counts == {"cat": (12, 12), "dog": (12, 0)}
    exact = 2 / math.comb(24, 12)  # of all ways to choose twelve, those that are one class
    assert [row["p_holm"] for row in summary["by_class"].values()] == pytest.approx([2 * exact] * 2)
    assert summary["qualities"] == {"75": 12}
    assert summary["dependence"]["p_value"] == pytest.approx(1 / 2001)
    share = summary["seen_shares"]["jpeg-75"]
    assert 0 <= share["low"] < share["share"] < share["high"] < 1
    assert "lossy: 12 of 24 images show a lossy past (JPEG quality 75)" in capsys.readouterr().out
    page = Path("audit/index.html").read_text()
    assert "Cramér" in page
    assert {row["verdict"] for row in rows() if row["class"] == "dog"} <= {"lossless", "unknown"}


def test_files_of_strangers_end_in_a_line_each(folder, leaves, capsys):
    place, whole = folder / "dog", (folder / "dog" / "00.png").read_bytes()
    Image.fromarray(leaves[0]).save(place / "a.jpg", quality=60)
    jpeg_bytes = (place / "a.jpg").read_bytes()
    bad = {
        "cut.png": whole[:90], "empty.png": b"", "cut.jpg": jpeg_bytes[:40], "no_table.jpg": jpeg_bytes.replace(
            b"\xff\xdb", b"\xff\xfe"), "text.webp": b"RIFF\0\0\0\0WEBPVP8L",
        "\x1b[31m.png": b"x",
    }  # fmt: skip
    for name, content in bad.items():
        (place / name).write_bytes(content)
    summary = audit(folder)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not read: ")]
    assert len(lines) == len(bad) == summary["unreadable"]
    assert not any("\x1b" in line for line in lines)
    assert summary["containers"]["JPEG"] >= 1
    [row] = [row for row in rows() if row["path"] == "dog/a.jpg"]
    assert (row["verdict"], row["quality"], row["subsampling"]) == ("jpeg", "60", "4:2:0")


def test_the_data_of_a_configuration_are_audited(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = audit("--config", "demo", "--data.limit", 40)
    assert (summary["images"], summary["lossy"]) == (40, 0)
    assert summary["conclusion"] != "lossy"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a folder"),
        (["nowhere"], "'nowhere' is not a folder"),
        (["--config", "demo", "--data.limit", "0"], "limit"),
        (["--config", "demo", "--data.bogus", "1"], "bogus"),
        (["--config", "no_such"], "no configuration"),
        (["here", "--data.limit", "3"], "--data.limit"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_mistakes_end_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        main(["audit", *words])
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert error.count("\n") == 1
    assert message in error


def test_independent_histories_are_not_taken_for_a_leak():
    chance = np.random.default_rng(0)
    values = [dependence(chance.integers(0, 5, 60), chance.choice(["a", "b"], 60), seed).p_value for seed in range(12)]
    assert np.mean(np.array(values) < 0.05) < 0.3
    assert dependence([0, 0, 1], ["a", "a", "a"]) is None


def test_what_a_view_adds_to_a_past_is_measured_against_the_untouched_image(leaves):
    def error(rgb):
        return ((np.asarray(rgb, float) - leaves[0]) ** 2).mean()

    once, again = jpeg(50)(leaves[0]), jpeg(20)(jpeg(50)(leaves[0]))
    image, direct = Image.fromarray(leaves[0]), error(jpeg(20)(leaves[0]))
    assert added_share([image], "jpeg-50", "jpeg-20") == pytest.approx((error(again) - error(once)) / direct)
    assert added_share([image], "original", "jpeg-20") == 1


def test_a_few_false_positives_are_neither_lossy_nor_a_leak():
    def seen(index, verdict):
        return Examined(index, None, index % 2, history=History(verdict, 0.1, 0.5))

    images = [seen(index, "lossless" if index % 3 else "unknown") for index in range(400)]
    images[::100] = [seen(index, "lossy") for index in range(0, 400, 100)]
    summary = summarise(images, ["even", "odd"])
    assert (summary["conclusion"], summary["lossy"], summary["dependence"], summary["by_class"]) == (
        "lossless",
        4,
        None,
        {},
    )
    assert "no more than lossless sets do by chance" in in_one_line(summary)
    assert summarise([seen(index, "unknown") for index in range(400)])["conclusion"] == "unknown"
    no_jpeg = Examined(0, None, 0, history=History("unknown", 0.1, 0.5, ruled_out=98))
    assert summarise([no_jpeg] * 19 + [seen(0, "unknown")])["conclusion"] == "no save at this size"
    assert summarise([seen(index, "jpeg") for index in range(20)])["conclusion"] == "lossy"


def test_a_sample_grows_with_the_time_it_may_take(folder):
    source = FolderSource(folder)
    none, all_of_them = (sample_summary(source, range(24), seconds) for seconds in (0.0, 60.0))
    assert (none["images"], none["conclusion"]) == (0, "not looked at")
    assert (all_of_them["images"], all_of_them["conclusion"]) == (24, "lossy")


def test_a_runs_record_says_what_a_sample_of_its_originals_shows(folder, leaves, tiny_clip, monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["lightning"])
    monkeypatch.setattr("callbacks.results_writer._AUDIT_SHARE", 1.0)  # of a run of a second or so
    Image.fromarray(leaves[1]).save(folder / "cat" / "01.png", "JPEG", quality=75)  # an extension that lies
    data = ["--data", "ImageFolder", "--data.root", str(folder), "--data.num_workers", "0"]
    few = ["--data.indices", str(list(range(12))), "--data.degradations", "jpeg-50"]
    main(["test", "--config", "demo", *data, *few])
    [record] = Path("runs").rglob("results.json")
    told = json.loads(record.read_text())["data"]["audit"]
    assert (told["conclusion"], told["qualities"]) == ("lossy", {"75": told["images"]})
    assert json.loads(record.read_text())["data"]["lossy_source_formats"] == ["JPEG"]
    assert any("source images that were looked at show a lossy past" in line.message for line in caplog.records)
    with pytest.raises(SystemExit):
        main(["report", "runs"])
    text = Path("report/report.md").read_text()
    assert f"{told['images']} show a lossy past (JPEG quality 75): drops here are biased, mostly down" in text
