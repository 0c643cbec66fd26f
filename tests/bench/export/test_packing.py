"""Exports in tar shards are what they were as files."""

import shutil
import tarfile

import pytest

from bench.export.packing import pack
from bench.export.writing import export
from datamodules import ImageFolder, Synthetic, TarShards, ViewFolders
from datamodules.errors import UserError
from tests.bench.export.test_writing import (
    VIEWS,
    assert_same,
    killed_before_the_claim_is_taken_away,
    opened,
    plainly,
    stopping,
    tree,
)


@pytest.fixture
def folder(tmp_path):
    """Five files in two classes, whose names tell them apart."""
    data = opened(Synthetic, limit=5)
    for index in range(5):
        place = tmp_path / f"photos/{'cat' if index < 3 else 'dog'}/{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        data.chosen.load(index).save(place)
    return tmp_path / "photos"


def test_shards_of_files_are_read_as_the_files_are(folder, tmp_path):
    data = opened(ImageFolder, folder, degradations=VIEWS)
    export(data, tmp_path / "views", plainly)
    pack(tmp_path / "views", 2, plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))
    with tarfile.open(tmp_path / "views/jpeg-50/test/0.tar") as archive:
        assert archive.getnames() == ["cat/0.jpg", "cat/0.cls", "cat/1.jpg", "cat/1.cls"]
    assert (tmp_path / "views/jpeg-50/test/nshards.txt").read_text() == "3\n"


def test_each_view_is_a_data_set_of_its_own(tmp_path):
    data = opened(Synthetic, limit=5, degradations=["jpeg-50"])
    export(data, tmp_path / "views", plainly)
    pack(tmp_path / "views", 3, plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))
    alone = opened(TarShards, tmp_path / "views/jpeg-50", degradations=[])
    made = [sample.views["jpeg-50"] for sample in data.views_of(data.positions).samples()]
    read = [sample.views["original"] for sample in alone.views_of(alone.positions).samples()]
    assert alone.class_names == data.class_names
    assert all(bool((first == second).all()) for first, second in zip(made, read, strict=True))


@pytest.mark.parametrize("after", [0, 2, 5])
def test_interrupted_packing_goes_on_where_it_stopped(folder, tmp_path, after):
    data = opened(ImageFolder, folder, degradations=VIEWS[:2])
    for name in ("undisturbed", "views"):
        export(data, tmp_path / name, plainly)
    pack(tmp_path / "undisturbed", 2, plainly)
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "views", 2, stopping(after))
    with pytest.raises(UserError, match="is not complete"):
        opened(ViewFolders, tmp_path / "views")
    seen = []

    def counted(shards, total, done):
        seen.append((total, done))
        return iter(shards)

    pack(tmp_path / "views", 2, counted)
    assert seen == [(9, after)]
    assert tree(tmp_path / "views") == tree(tmp_path / "undisturbed")
    pack(tmp_path / "views", 2, stopping(0))


def test_packing_that_was_killed_between_two_views_completes(folder, tmp_path, monkeypatch):
    data = opened(ImageFolder, folder, degradations=VIEWS[:2])
    for name in ("undisturbed", "views"):
        export(data, tmp_path / name, plainly)
    pack(tmp_path / "undisturbed", 2, plainly)
    monkeypatch.setattr("shutil.rmtree", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(tmp_path / "views", 2, plainly)
    monkeypatch.undo()
    pack(tmp_path / "views", 2, plainly)
    assert tree(tmp_path / "views") == tree(tmp_path / "undisturbed")


def test_packing_that_was_killed_among_the_files_of_a_view_completes(folder, tmp_path, monkeypatch):
    data = opened(ImageFolder, folder, degradations=VIEWS)
    for name in ("undisturbed", "views"):
        export(data, tmp_path / name, plainly)
    pack(tmp_path / "undisturbed", 2, plainly)
    remove = shutil.rmtree

    def killed(folder):
        if folder.name != "blur-1":  # which has a table of sizes
            return remove(folder)
        (folder / "cat/0.png").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "views", 2, plainly)
    monkeypatch.undo()
    pack(tmp_path / "views", 2, plainly)
    assert tree(tmp_path / "views") == tree(tmp_path / "undisturbed")


def test_packing_that_was_killed_at_its_very_end_completes(folder, tmp_path, monkeypatch):
    data = opened(ImageFolder, folder, degradations=VIEWS[:1])
    export(data, tmp_path / "views", plainly)
    with killed_before_the_claim_is_taken_away(monkeypatch):
        pack(tmp_path / "views", 2, plainly)
    pack(tmp_path / "views", 2, plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))


@pytest.mark.parametrize("after", [1, 6])
def test_shards_of_two_sizes_are_not_mixed(folder, tmp_path, monkeypatch, after):
    data = opened(ImageFolder, folder, degradations=VIEWS[:1])
    export(data, tmp_path / "views", plainly)
    monkeypatch.setattr("shutil.rmtree", lambda folder: 1 / 0)  # after the last shard
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        pack(tmp_path / "views", 2, stopping(after))
    monkeypatch.undo()
    with pytest.raises(UserError, match=r'packed in part, with {"images_per_shard": 2}: give the same `--shards`'):
        pack(tmp_path / "views", 1, plainly)
    pack(tmp_path / "views", 2, plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))


def test_a_folder_is_packed_by_one_process_at_a_time(folder, tmp_path, monkeypatch):
    data = opened(ImageFolder, folder, degradations=VIEWS[:1])
    export(data, tmp_path / "views", plainly)
    locked = []

    def watched(shards, total, done):
        locked.append((tmp_path / "views/.export.lock").exists())
        return iter(shards)

    pack(tmp_path / "views", 2, watched)
    assert locked == [True]
    assert not (tmp_path / "views/.export.lock").exists()
    monkeypatch.setattr("bench.runs.locks.acquire", lambda file: False)
    with pytest.raises(UserError, match="another export is at work"):
        pack(tmp_path / "views", 2, plainly)


def test_shards_of_any_split_are_read_without_naming_it(folder, tmp_path):
    data = opened(ImageFolder, folder, split="train", degradations=VIEWS[:1])
    export(data, tmp_path / "views", plainly)
    manifest = tmp_path / "views/export.json"
    manifest.write_text(manifest.read_text().replace('"train"', '"trainval"'))  # which `ViewFolders` has no word for
    pack(tmp_path / "views", 2, plainly)
    read = opened(ViewFolders, tmp_path / "views")
    assert_same(data, read)
    assert read.describe()["split"] == "trainval"


def test_a_split_outside_the_folder_is_refused(folder, tmp_path):
    export(opened(ImageFolder, folder, degradations=[]), tmp_path / "views", plainly)
    manifest = tmp_path / "views/export.json"
    manifest.write_text(manifest.read_text().replace('"test"', '"../../other"'))
    with pytest.raises(UserError, match=r"its split '../../other' leads out of the folder"):
        opened(ViewFolders, tmp_path / "views")


def test_images_without_labels_stay_files(folder, tmp_path):
    data = opened(ImageFolder, folder / "dog", class_names=["cat", "dog"], degradations=[])
    export(data, tmp_path / "views", plainly)
    with pytest.raises(UserError, match="have no labels, which shards have"):
        pack(tmp_path / "views", 2, plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))


def test_shards_that_do_not_belong_together_are_one_line(folder, tmp_path):
    for name, chosen in (("a", [0, 1, 2, 3, 4]), ("b", [1, 0, 2, 3, 4]), ("c", [0, 1, 3])):
        export(opened(ImageFolder, folder, degradations=["jpeg-50"], indices=chosen), tmp_path / name, plainly)
        pack(tmp_path / name, 2, plainly)
    views = tmp_path / "a"
    (tmp_path / "b/jpeg-50").rename(views / "swapped")
    (tmp_path / "c/jpeg-50").rename(views / "short")
    with pytest.raises(UserError, match=r"'swapped' has 'cat/1.jpg' where original has 'cat/0.png'"):
        opened(ViewFolders, views, views="swapped")
    with pytest.raises(UserError, match="'short' has 3 images and original 5"):
        opened(ViewFolders, views, views="short")
