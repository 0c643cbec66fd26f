"""Views that another program made."""

import json
from itertools import count

import pytest
import torch
from PIL import Image

from datamodules import ViewFolders, view_folders
from datamodules.errors import UserError


def put(file, value=0, size=(12, 8)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(file)


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(["cat/1", "cat/2", "dog/3"]):
        put(tmp_path / f"original/{name}.png", number)
        put(tmp_path / f"vvc-qp32/{name}.png", 100 + number)
        put(tmp_path / f"scan/{name}.png.jpg", 200 + number)
    rows = ["file,bytes", "cat/1.png,17", "cat/2.png,23", "dog/3.png,"]
    (tmp_path / "vvc-qp32/bytes.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def opened(root, **options):
    data = ViewFolders(root, num_workers=0, **options)
    data.setup("test")
    return data


def test_views_are_the_files_beside_their_originals(root):
    data = opened(root)
    assert data.views == ("original", "scan", "vvc-qp32")
    samples = list(data.views_of(data.positions).samples())
    assert [[int(sample.pixels[view].max()) for view in data.views] for sample in samples] == [
        [0, 200, 100],
        [1, 201, 101],
        [2, 202, 102],
    ]
    assert [sample.encoded_bytes["vvc-qp32"] for sample in samples] == [17, 23, -1]
    assert [sample.encoded_bytes["scan"] for sample in samples] == [
        (root / f"scan/{name}.png.jpg").stat().st_size for name in ("cat/1", "cat/2", "dog/3")
    ]
    assert [sample.label for sample in samples] == [0, 0, 1]


def test_decoding_a_codecs_own_files_is_timed_and_that_of_copies_is_not(root, monkeypatch):
    seconds = count(step=0.25)
    monkeypatch.setattr(view_folders, "process_time", lambda: next(seconds))
    data = opened(root)
    batch = next(iter(data.test_dataloader()))
    nan = torch.full((3,), torch.nan)
    expected = {"original": (nan, nan), "scan": (nan, torch.full((3,), 250.0)), "vvc-qp32": (nan, nan)}
    for view, times in expected.items():
        torch.testing.assert_close(batch.codec_ms[view], torch.stack(times, 1), rtol=0, atol=0, equal_nan=True)


def test_views_can_be_chosen_and_splits_lie_below(root, tmp_path):
    assert opened(root, views="scan").views == ("original", "scan")
    for split in ("train", "test"):
        for view in ("original", "scan"):
            put(tmp_path / f"two/{split}/{view}/cat/1.png")
            put(tmp_path / f"two/{split}/{view}/dog/1.png")
    data = opened(tmp_path / "two", split="train")
    assert (data.views, len(data.chosen)) == (("original", "scan"), 2)


def test_a_changed_view_is_another_data_set_for_a_run_that_goes_on(root):
    before = opened(root).describe()
    put(root / "scan/cat/1.png.jpg", size=(40, 40))
    after = opened(root).describe()
    assert before["content"] == after["content"]
    assert before["views_content"] != after["views_content"]


def sizes(*lines):
    return lambda root: (root / "vvc-qp32/bytes.csv").write_text("\n".join(lines) + "\n")


def manifest(text):
    return lambda root: (root / "export.json").write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "scan/cat/1.png.jpg").unlink(), "'scan' lacks 1 of 3 images, first that of 'cat/1.png'"),
        (lambda root: put(root / "scan/dog/4.png"), "'scan' has 1 files without an original, first 'dog/4.png'"),
        (lambda root: put(root / "original/cat/2.webp"), "lacks 1 of 4 images, first that of 'cat/2.webp'"),
        (sizes("file,bytes", "cat/1.png,3"), "lacks 2 files, first 'cat/2.png'"),
        (sizes("file,bytes", "cat/1.png,-3"), "'-3' is no whole number"),
        (sizes("file,bytes", "cat/1.png,5000000000"), "'5000000000' is no whole number"),
        (sizes("file,bytes", "cat/1.png"), "line 2: 1 values in place of 2"),
        (sizes("name"), "has to begin with a line 'file,bytes'"),
        (sizes("file,bytes", "x" * 10**6), "has a line of more than"),
        (manifest("{"), "is no manifest of an export"),
        (manifest("[" * 10**5), "is no manifest of an export"),
        (manifest('{"schema": 2}'), "its schema is not 1"),
        (manifest('{"schema": 1, "name": "x"}'), "is no manifest of an export"),
    ],
)
def test_folders_that_do_not_fit_are_one_line(root, change, message):
    change(root)
    with pytest.raises(UserError, match=message) as caught:
        opened(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../../secret.png,0", "leads out of the folder"),
        ("/etc/secret.png,0", "leads out of the folder"),
        ("cat/9.png,0", "view 'scan' lacks 1 of 1 images, first that of 'cat/9.png'"),
        ("cat/1.png,7", "labels beyond the 2 classes"),
        ("cat/1.png,x", "'x' is no whole number"),
    ],
)
def test_a_list_that_was_tampered_with_is_one_line(root, row, message):
    facts = {"name": "x", "split": "test", "content": "sha256:0", "class_names": ["cat", "dog"], "templates": []}
    manifest = {"schema": 1, **facts, "views": ["original", "scan"], "files": True, "selection": {}, "software": {}}
    (root / "export.json").write_text(json.dumps(manifest))
    (root / "images.csv").write_text(f"file,label\n{row}\n")
    with pytest.raises(UserError, match=message):
        opened(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": ["../scan"]}, "cannot be the name of one: give its folder a name of"),
        ({"views": ["vvc qp 32"]}, "cannot be the name of one: give its folder a name of"),
        ({"views": [""]}, "cannot be the name of one"),
        ({"views": ["original"]}, "is not one beside original"),
        ({"views": ["scan", "scan"]}, "listed twice"),
        ({"views": ["lost"]}, "there is no folder"),
        ({"degradations": ["jpeg-50"]}, "degrades nothing"),
    ],
)
def test_mistakes_are_named(root, options, message):
    with pytest.raises(UserError, match=message):
        opened(root, **options)


def test_the_mark_with_which_excels_tables_begin_is_passed_over(root):
    table = root / "vvc-qp32/bytes.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    (sample, *_) = opened(root).views_of([0]).samples()
    assert sample.encoded_bytes["vvc-qp32"] == 17


@pytest.mark.parametrize(
    ("originals", "files"),
    [
        (["1.png", "1.png.png"], ["1.png", "1.png.png"]),
        (["1.jpg", "1.jpg.jpg"], ["1.webp", "1.jpg.webp"]),
        (["1.png", "1.jpg", "1.png.png"], ["1.png", "1.jpg", "1.png.png"]),
        (["1.png", "1.jpg", "2.png"], ["1.png.webp", "1.jpg.webp", "2.webp"]),
    ],
)
def test_names_that_end_twice_are_told_apart(tmp_path, originals, files):
    for value, (original, file) in enumerate(zip(originals, files, strict=True), start=1):
        put(tmp_path / "original/cat" / original, 20 * value, (16, 16))
        put(tmp_path / "view/cat" / file, 20 * value, (16, 16))
    put(tmp_path / "original/dog/3.png")
    put(tmp_path / "view/dog/3.png")
    for sample in opened(tmp_path).views_of(range(len(originals))).samples():
        assert abs(int(sample.pixels["original"].mean()) - int(sample.pixels["view"].mean())) < 5, sample.path


def test_a_root_without_originals_is_refused_with_the_layout(tmp_path):
    with pytest.raises(UserError, match="lay images out as original/<class>/<image>"):
        opened(tmp_path)


def test_views_of_another_size_are_taken_as_they_are(root):
    put(root / "scan/cat/1.png.jpg", size=(6, 4))
    data = opened(root, views="scan")
    sample = next(data.views_of([0]).samples())
    assert sample.views["scan"].shape == (3, 4, 6)
