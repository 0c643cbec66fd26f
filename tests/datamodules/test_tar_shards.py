import io
import os
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from bench.audit.dataset import examine
from bench.cli import main
from datamodules import ImageFolder, TarShards
from datamodules.errors import UserError
from tests.support.options import WITHOUT_PICTURES
from tests.support.shards import add, of_folder, write_shards

QUICK = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
VIEWS = ["original", "jpeg-50"]


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def picture(seed, size=(20, 16)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    """PNG, lossless and lossy WebP and JPEG, of unequal sizes, in three classes."""
    kinds = [("png", {"format": "PNG"}), ("webp", {"format": "WEBP", "lossless": True}), ("jpg", {"format": "JPEG"}),
             ("webp", {"format": "WEBP", "quality": 50})]  # fmt: skip
    for number in range(10):
        place = tmp_path / "folder" / ["ant", "bee", "cow"][number % 3]
        place.mkdir(parents=True, exist_ok=True)
        extension, options = kinds[number % 4]
        (place / f"{number}.{extension}").write_bytes(encoded(picture(number, (20 + number % 2, 16)), **options))
    return tmp_path / "folder"


@pytest.fixture
def shards(tmp_path, folder):
    samples, classes = of_folder(folder)
    write_shards(tmp_path / "shards", samples, classes, per_shard=4)
    return tmp_path / "shards"


def opened(kind, root, **options):
    data = kind(root, num_workers=0, degradations=VIEWS, batch_size=3, **options)
    data.setup("test")
    return data


def refusal(root, **options):
    with pytest.raises(UserError) as caught:
        opened(TarShards, root, **options)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.on_command_line()


def test_samples_are_those_of_the_folder_in_any_order(folder, shards):
    ours, theirs = opened(TarShards, shards), opened(ImageFolder, folder)
    indices = [7, 0, 9, 4]
    for a, b in zip(ours.views_of(indices).samples(), theirs.views_of(indices).samples(), strict=True):
        assert (a.index, a.label, a.path, a.encoded_bytes) == (b.index, b.label, b.path, b.encoded_bytes)
        assert all((a.pixels[view] == b.pixels[view]).all() for view in VIEWS)
    same = ("content", "images_in_split", "class_names")
    assert [ours.describe()[key] for key in same] == [theirs.describe()[key] for key in same]
    assert ours.templates == ("a photo of a {}.",)


@pytest.mark.slow
def test_predictions_bytes_and_images_csv_are_those_of_the_folder(folder, shards, tmp_path, tiny_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lightning"])
    common = ["--data.degradations=[jpeg-50]", "--data.num_workers=0", "--data.batch_size=4",
              "--model.templates=a photo of a {}.", *QUICK, WITHOUT_PICTURES]  # fmt: skip
    config = ["test", "--config", "image_folder", *tiny_clip, *common]
    main([*config, "--data.root", str(folder), "--trainer.logger.name=folder"])
    main([*config, "--data=TarShards", "--data.root", str(shards), "--trainer.logger.name=shards", "--data.split=test",
          "--model.templates=dataset"])  # fmt: skip
    tables = [(tmp_path / f"runs/{name}/version_0/images.csv").read_text() for name in ("folder", "shards")]
    assert tables[0] == tables[1]
    assert tables[0].count("\n") == 21


def test_lossless_webp_is_not_taken_for_lossy(shards, caplog):
    lossy = opened(TarShards, shards).chosen.already_lossy()
    assert (lossy.formats, lossy.count, lossy.first) == (("JPEG", "WEBP"), 4, "ant/3.webp")
    assert "4 of 10 source images are already compressed (JPEG, WEBP; the first is ant/3.webp)" in caplog.text


def test_the_audit_sees_in_shards_what_it_sees_in_files(folder, shards):
    ours, theirs = (
        {one.path: (one.container, one.history, one.error) for one in examine(data.chosen, range(10))}
        for data in (opened(TarShards, shards), opened(ImageFolder, folder))
    )
    assert ours == theirs
    lossy = Counter(container for container, history, _ in ours.values() if history.verdict == "lossy")
    assert lossy == {"WEBP": 2}


def test_webdatasets_numbered_samples_with_other_files_beside_them(tmp_path):
    folder = write_shards(tmp_path, [], ["a", "b"])
    with tarfile.open(folder / "0.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(_directory("part"))
        for number in range(3):
            key = f"part/{'long' * 40}{number}"
            add(archive, f"{key}.json", b"{}", 1)
            add(archive, f"{key}.cls", f" {number % 2}\n".encode(), 1)
            add(archive, f"{key}.PNG", encoded(picture(number), format="PNG"), 1)
    (folder / "nshards.txt").write_text("1")
    data = opened(TarShards, tmp_path)
    assert [sample.label for sample in data.views_of([0, 1, 2]).samples()] == [0, 1, 0]
    assert data.path(2) == f"part/{'long' * 40}2.PNG"


def _directory(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def test_names_may_be_given_in_place_of_the_folders(shards):
    (shards / "classnames.txt").unlink()
    assert "has no classnames.txt: bring it, or list the names with --data.class_names" in refusal(shards)
    assert opened(TarShards, shards, class_names=["x", "y", "z"]).class_names == ("x", "y", "z")


class TestOneLine:
    """For everything that is no shard of this layout."""

    def test_a_truncated_shard(self, shards):
        whole = (shards / "test/1.tar").read_bytes()
        for length in (100, 700, 1024, 3000, len(whole) // 2, len(whole) - 10240):
            (shards / "test/1.tar").write_bytes(whole[:length])
            assert "test/1.tar' cannot be used: it is cut short" in refusal(shards)

    def test_a_shard_without_its_index(self, shards):
        (shards / "test/nshards.txt").unlink()
        assert "nshards.txt does not exist" in refusal(shards)
        (shards / "test/nshards.txt").write_text("99999999999")
        assert "write the number of shards into it" in refusal(shards)
        (shards / "test/nshards.txt").write_text("4")
        assert "shard" in refusal(shards)
        assert "3.tar' is missing, of which nshards.txt says" in refusal(shards)

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ([("a.png", b"")], "sample 'a' has no label in a file a.cls"),
            ([("a.cls", b"0")], "sample 'a' has no image"),
            ([("a.cls", b"0"), ("a.png", b""), ("a.jpg", b"")], "sample 'a' has two images"),
            ([("a.cls", b"7"), ("a.png", b"")], "sample 'a' has label 7, and there are 3 class names"),
            ([("a.cls", b"-1"), ("a.png", b"")], "'a.cls' holds no label"),
            ([("a.cls", b"0" * 9999), ("a.png", b"")], "'a.cls' holds no label"),
            ([("a\x1b[31m.cls", b"x"), ("a.png", b"")], r"'a\x1b[31m.cls' holds no label"),
            ([], "hold no sample"),
        ],
    )
    def test_a_sample_that_is_none(self, shards, files, message):
        with tarfile.open(shards / "test/0.tar", "w") as archive:
            for name, content in files:
                add(archive, name, content)
        (shards / "test/nshards.txt").write_text("1")
        assert message in refusal(shards)

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (tarfile.SYMTYPE, "'a.png' is a link"), (tarfile.LNKTYPE, "'a.png' is a link"),
            (tarfile.CHRTYPE, "'a.png' is a device"), (tarfile.FIFOTYPE, "'a.png' is a pipe"),
            (tarfile.GNUTYPE_SPARSE, "'a.png' is no ordinary file"),
        ],
    )  # fmt: skip
    def test_a_link_or_a_device(self, shards, kind, message):
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = kind, "/etc/passwd"
        with tarfile.open(shards / "test/0.tar", "w") as archive:
            archive.addfile(info)
        assert message in refusal(shards)

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"GNU.sparse.major": "1"}, "a file in it has holes"),
            ({"size": "99999999999"}, "it is cut short: 'a.png' ends beyond it"),
            ({"size": "-3"}, "a size that is no number"),
            ({"path": "x" * 5000}, "a name has 5,000 characters"),
            ({"comment": "x" * 100_000}, "a header has 100,"),
        ],
        ids=str,
    )
    def test_attributes_that_lie(self, shards, attributes, message):
        info = tarfile.TarInfo("a.png")
        info.pax_headers = attributes
        with tarfile.open(shards / "test/0.tar", "w") as archive:
            archive.addfile(info)
        assert message in refusal(shards)

    def test_a_damaged_header_or_another_format(self, shards):
        file = shards / "test/0.tar"
        content = bytearray(file.read_bytes())
        content[1024 + 20] ^= 1  # behind the attributes of the first file
        for damaged, message in [
            (content, "it is damaged at byte 1,024 (bad checksum)"),
            (b"\x1f\x8b" + bytes(600), "it is no uncompressed tar archive"),
            (b"x" * 2048, "it is no uncompressed tar archive"), (b"", "it is cut short"),
            (b"\x80" + bytes(511), "it is no uncompressed tar archive"),
        ]:  # fmt: skip
            file.write_bytes(damaged)
            assert message in refusal(shards)

    def test_a_pipe_or_a_folder_in_the_place_of_a_file(self, shards):
        for name in ("test/0.tar", "classnames.txt", "dataset_type.txt"):
            (shards / name).unlink(missing_ok=True)
            os.mkfifo(shards / name)
            assert "is a folder, pipe or device" in refusal(shards)
            (shards / name).unlink()
            (shards / name).mkdir()
            assert "is a folder, pipe or device" in refusal(shards)
            (shards / name).rmdir()
            (shards / name).write_text("")

    def test_other_kinds_of_data_sets_and_splits_that_are_not_there(self, shards):
        (shards / "dataset_type.txt").write_text("retrieval\n")
        assert "says 'retrieval': only sets with one class per image are read" in refusal(shards)
        assert "has no folder 'train' of shards, only test" in refusal(shards, split="train")


def test_an_image_that_is_none_is_one_unreadable_image(shards):
    with tarfile.open(shards / "test/0.tar", "w") as archive:
        add(archive, "a.png", b"no image")
        add(archive, "a.cls", b"0")
    data = opened(TarShards, shards, on_error="skip")
    first, *_ = data.test_dataloader()
    assert [image.path for image in first.unreadable] == ["a.png"]
    assert len(first) == 2
