import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.audit.bias import seen_share
from bench.audit.dataset import dependence
from bench.cli import main
from benchmarks.audit import dead_leaves, jpeg


@pytest.fixture(scope="module")
def leaves():
    return list(dead_leaves(32, 32, 24))


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
    assert summary["by_class"] == {"cat": {"images": 12, "lossy": 12}, "dog": {"images": 12, "lossy": 0}}
    assert summary["qualities"] == {"75": 12}
    assert summary["dependence"]["p_value"] == pytest.approx(1 / 2001)
    assert 0 < summary["seen_shares"]["jpeg-75"] < 1
    assert "12 of 24 images show a lossy past (JPEG quality 75)" in capsys.readouterr().out
    page = Path("audit/index.html").read_text()
    assert "Cramér" in page
    assert {row["verdict"] for row in rows() if row["class"] == "dog"} == {"no trace"}


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
    assert (summary["images"], summary["lossy"], summary["beyond_chance"]) == (40, 0, False)


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


def test_the_share_that_is_seen_is_that_of_two_round_trips(leaves):
    image = Image.fromarray(leaves[0])
    once = np.asarray(jpeg(50)(leaves[0]), float)
    again = np.asarray(jpeg(20)(jpeg(50)(leaves[0])), float)
    direct = ((np.asarray(jpeg(20)(leaves[0]), float) - leaves[0]) ** 2).mean()
    assert seen_share([image], "jpeg-50", "jpeg-20") == pytest.approx(((again - once) ** 2).mean() / direct)
    assert seen_share([image], "original", "jpeg-20") == 1


def test_a_runs_record_says_what_a_sample_of_its_originals_shows(folder, tiny_clip, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lightning"])
    main(
        [
            *(
                "test",
                "--config",
                "demo",
                "--data",
                "ImageFolder",
                "--data.root",
                str(folder),
                "--data.num_workers",
                "0",
            ),
            *("--data.indices", str(list(range(12))), "--data.degradations", "jpeg-50"),
        ]
    )
    [record] = Path("runs").rglob("results.json")
    found = json.loads(record.read_text())["data"]["audit"]
    assert found == {
        "images": 8, "lossy": 8, "beyond_chance": True, "unreadable": 0, "verdicts": {"jpeg": 8}, "qualities": {"75": 8}
    }  # fmt: skip
    with pytest.raises(SystemExit):
        main(["report", "runs"])
    assert (
        "Of 8 originals that were looked at, 8 show a lossy past (JPEG quality 75)"
        in Path("report/report.md").read_text()
    )
