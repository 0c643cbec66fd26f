"""What an export holds is what the data set gives: pixels, bytes, labels, order and paths."""

import os
import shutil
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.export.writing import export
from datamodules import ImageFolder, Synthetic, ViewFolders
from datamodules.errors import UserError
from datamodules.sources import Source

VIEWS = ["jpeg-50", "jpeg-75-x2-shift3", "resize-0.5+webp-50", "blur-1"]


@pytest.fixture
def photos(tmp_path):
    """Four images of different sizes and formats in two classes; two of them share a name but for the extension."""
    noise = np.random.default_rng(0)
    for file, size in [
        ("cat/1.png", (24, 16)),
        ("cat/1.webp", (20, 20)),
        ("dog/x/2.png", (9, 31)),
        ("dog/3.jpg", (17, 16)),
    ]:
        place = tmp_path / "photos" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (*size[::-1], 3), np.uint8)).save(place)
    return tmp_path / "photos"


def opened(kind, *arguments, num_workers=0, **options):
    data = kind(*arguments, num_workers=num_workers, **options)
    data.setup("predict")
    return data


def plainly(images, total, done):
    return iter(images)


def stopping(after):
    """A progress display during which the user loses patience."""

    def progress(images, total, done):
        for number, image in enumerate(images):
            if number == after:
                raise KeyboardInterrupt
            yield image

    return progress


@contextmanager
def killed_before_the_claim_is_taken_away(monkeypatch):
    """Work on an export that ends with its very last step but one."""
    unlink = Path.unlink

    def killed(file, missing_ok=False):
        if file.name == "unfinished.json":
            raise KeyboardInterrupt
        unlink(file, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            yield


def assert_same(first, second):
    assert first.class_names == second.class_names
    assert first.views == second.views
    samples = list(
        zip(first.views_of(first.positions).samples(), second.views_of(second.positions).samples(), strict=True)
    )
    assert samples
    for made, read in samples:
        assert (made.index, made.label, made.path) == (read.index, read.label, read.path)
        assert made.encoded_bytes == read.encoded_bytes
        assert all(torch.equal(made.views[view], read.views[view]) for view in first.views)
    assert first.describe()["content"] == second.describe()["content"]


def tree(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_export_of_files_is_read_as_what_it_was_made_of(photos, tmp_path):
    data = opened(ImageFolder, photos, degradations=VIEWS)
    export(data, tmp_path / "views", plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))
    for file in photos.rglob("*.*"):
        assert (tmp_path / "views/original" / file.relative_to(photos)).read_bytes() == file.read_bytes()
    assert (tmp_path / "views/jpeg-50/dog/3.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert not (tmp_path / "views/jpeg-50/bytes.csv").exists()


@pytest.mark.parametrize("names", [["1.jpg", "1.jpg.jpg"], ["1.jpg", "1.jpg.png"], ["1.png", "1.jpg", "1.png.png"]])
def test_names_that_end_twice_come_back_as_what_they_were(photos, tmp_path, names):
    for value, name in enumerate(names):
        Image.new("RGB", (16, 16), (60 * value, 90, 0)).save(photos / "dog" / name)
    data = opened(ImageFolder, photos, degradations=["jpeg-50", "noise-0.03", "webp-40"])
    export(data, tmp_path / "views", plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))


def test_an_export_of_arrays_keeps_order_labels_and_that_they_are_no_files(tmp_path):
    data = opened(Synthetic, limit=12, degradations=VIEWS)
    export(data, tmp_path / "views", plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))


def test_images_without_labels_are_exported_too(photos, tmp_path):
    data = opened(ImageFolder, photos / "dog/x", class_names=["cat", "dog"], degradations=VIEWS)
    export(data, tmp_path / "views", plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "views"))


def test_an_export_can_be_exported(photos, tmp_path):
    data = opened(ImageFolder, photos, degradations=VIEWS)
    export(data, tmp_path / "views", plainly)
    export(opened(ViewFolders, tmp_path / "views"), tmp_path / "again", plainly)
    assert_same(data, opened(ViewFolders, tmp_path / "again"))


@pytest.mark.parametrize("torn", ["", "3,orig", '3,"'])
def test_an_interrupted_export_goes_on_where_it_stopped(tmp_path, torn):
    data = opened(Synthetic, limit=6, degradations=VIEWS)
    export(data, tmp_path / "undisturbed", plainly)
    with pytest.raises(KeyboardInterrupt):
        export(data, tmp_path / "views", stopping(3))
    with pytest.raises(UserError, match="is not complete: give the same"):
        opened(ViewFolders, tmp_path / "views")
    with (tmp_path / "views/unfinished.csv").open("a") as journal:
        journal.write(torn)
    seen = []

    def counted(images, total, done):
        seen.append((total, done))
        return iter(images)

    export(data, tmp_path / "views", counted)
    assert seen == [(6, 3)]
    assert tree(tmp_path / "views") == tree(tmp_path / "undisturbed")
    export(data, tmp_path / "views", stopping(0))


def test_an_export_that_was_killed_at_its_very_end_completes(tmp_path, monkeypatch):
    data = opened(Synthetic, limit=2, degradations=VIEWS)
    with killed_before_the_claim_is_taken_away(monkeypatch):
        export(data, tmp_path / "views", plainly)
    export(data, tmp_path / "views", stopping(0))
    assert_same(data, opened(ViewFolders, tmp_path / "views"))
    assert not (tmp_path / "views/unfinished.csv").exists()


def test_nothing_else_is_overwritten(tmp_path):
    data = opened(Synthetic, limit=2, degradations=VIEWS)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is not empty: choose another"):
        export(data, tmp_path / "full", plainly)
    with pytest.raises(KeyboardInterrupt):
        export(data, tmp_path / "part", stopping(1))
    export(data, tmp_path / "whole", plainly)
    other = opened(Synthetic, limit=2, degradations=["jpeg-10"])
    with pytest.raises(UserError, match="holds a part of another export"):
        export(other, tmp_path / "part", plainly)
    with pytest.raises(UserError, match="holds the export of something else"):
        export(other, tmp_path / "whole", plainly)


def test_what_cannot_be_read_ends_the_export_or_is_left_out(photos, tmp_path):
    (photos / "cat/0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"image cat/0.png cannot be exported .* with `on_error='skip'`"):
        export(opened(ImageFolder, photos, degradations=VIEWS), tmp_path / "views", plainly)
    data = opened(ImageFolder, photos, degradations=VIEWS, on_error="skip")
    export(data, tmp_path / "rest", plainly)
    assert [image.path for image in data.unreadable.values()] == ["cat/0.png"]
    read = opened(ViewFolders, tmp_path / "rest")
    assert [sample.path for sample in read.views_of(read.positions).samples()] == [
        "cat/1.png", "cat/1.webp", "dog/3.jpg", "dog/x/2.png",
    ]  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("fate", "cause"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL, as where memory is short"),
        (lambda: os._exit(3), "exit status 3"),
    ],
)
def test_a_codec_that_takes_its_process_with_it_ends_the_export_or_costs_that_image(
    photos, tmp_path, monkeypatch, fate, cause
):
    parent = os.getpid()

    def degraded(source, index, image, degradation):
        if source.path(index) == "dog/3.jpg" and degradation.name == VIEWS[1] and os.getpid() != parent:
            fate()  # when the original and the first view are written
        return degradation(image)

    monkeypatch.setattr(Source, "degraded", degraded)
    with pytest.raises(UserError) as caught:
        export(opened(ImageFolder, photos, num_workers=2, degradations=VIEWS), tmp_path / "views", plainly)
    assert caught.value.on_command_line() == (
        f"a loader process ended ({cause}) at image dog/3.jpg: replace it, or leave such images out with "
        "--data.on_error skip"
    )
    data = opened(ImageFolder, photos, num_workers=2, on_error="skip", degradations=VIEWS)
    export(data, tmp_path / "views", plainly)
    assert {image.path: image.reason for image in data.unreadable.values()} == {"dog/3.jpg": cause}
    (photos / "dog/3.jpg").unlink()
    export(opened(ImageFolder, photos, degradations=VIEWS), tmp_path / "rest", plainly)
    made, rest = (tree(tmp_path / name) for name in ("views", "rest"))
    assert made.pop("export.json") != rest.pop("export.json")  # of other data
    assert made == rest
    assert len(opened(ViewFolders, tmp_path / "views").positions) == 3


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    data = opened(Synthetic, limit=2, degradations=VIEWS)
    with pytest.raises(KeyboardInterrupt):
        export(data, tmp_path / "views", stopping(0))
    shutil.rmtree(tmp_path / "views/blur-1")
    (tmp_path / "views/blur-1").write_text("in the way")
    words = [
        "export",
        "--config",
        "demo",
        "--output",
        str(tmp_path / "views"),
        "--data.limit=2",
        "--data.num_workers=1",
    ]
    with pytest.raises(SystemExit, match="2"):
        main([*words, f"--data.degradations=[{','.join(VIEWS)}]"])
    assert capsys.readouterr().err.startswith(f"error: '{tmp_path}/views/blur-1")


@pytest.mark.slow
def test_an_evaluation_of_an_export_is_that_of_the_data(tmp_path, tiny_clip, repository):
    quick = [
        *tiny_clip,
        "--data.num_workers=0",
        "--data.batch_size=8",
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
    ]
    views, made, read = (str(tmp_path / name) for name in ("views", "made", "read"))
    data = ["--data.limit=10", "--data.degradations=[jpeg-50, blur-1]"]
    for words in (
        ["test", "--config", "demo", *data, *quick, f"--trainer.logger.save_dir={made}"],
        ["export", "--config", "demo", "--output", views, *data, "--data.num_workers=0"],
        [
            "test",
            "--config",
            "view_folders",
            f"--data.root={views}",
            "--model.fidelity=true",
            *quick,
            f"--trainer.logger.save_dir={read}",
        ],
    ):
        with suppress(SystemExit):  # with status 0, or there is nothing to compare
            main(words)
    first, second = ([*Path(folder).rglob("images.csv")] for folder in (made, read))
    assert first[0].read_bytes() == second[0].read_bytes()
