import os
import socket
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from datamodules.errors import UserError
from datamodules.sources import UNLABELLED, ArraySource, FolderSource

pytestmark = pytest.mark.timeout(20)  # a pipe or a loop must not hang


def put(file, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), "red").save(file, **options)
    return file


def refusal(root, class_names=None):
    with pytest.raises(UserError) as caught:
        FolderSource(root, class_names)
    message = caught.value.on_command_line()
    assert len(message.splitlines()) == 1
    return message


class TestArraySource:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)

    def test_gives_its_pixels_and_labels(self):
        source = ArraySource(self.images, [1, 0], ["cat", "dog"])
        assert len(source) == 2
        assert (source.classes, source.labelled, source.path(0), source.lossy_formats()) == (
            ("cat", "dog"),
            True,
            None,
            (),
        )
        for index in range(2):
            np.testing.assert_array_equal(np.asarray(source.load(index)), self.images[index])
            assert source.label(index) == [1, 0][index]

    @pytest.mark.parametrize(
        ("images", "labels", "complaint"),
        [
            (images, [0], "2 images have 1 labels"),
            (images, [0, 2], "labels lie outside 0 to 1"),
            (images, [0, -1], "labels lie outside 0 to 1"),
            (images.astype(np.float32), [0, 1], "images are float32"),
            (images[..., 0], [0, 1], r"images are uint8 \[2, 4, 5\]"),
        ],
    )
    def test_refuses_arrays_that_do_not_fit_each_other(self, images, labels, complaint):
        with pytest.raises(ValueError, match=complaint):
            ArraySource(images, labels, ["cat", "dog"])


class TestListing:
    def test_sorted_folders_are_the_classes(self, tmp_path):
        for name in ("dog/b.png", "cat/z.png", "cat/a.png"):
            put(tmp_path / name)
        source = FolderSource(tmp_path)
        assert source.classes == ("cat", "dog")
        assert [source.path(i) for i in range(3)] == ["cat/a.png", "cat/z.png", "dog/b.png"]
        assert [source.label(i) for i in range(3)] == [0, 0, 1]
        assert source.labelled

    def test_nested_folders_belong_to_their_class(self, tmp_path):
        put(tmp_path / "cat/indoor/night/a.png")
        put(tmp_path / "dog/b.png")
        source = FolderSource(tmp_path)
        assert source.classes == ("cat", "dog")
        assert source.path(0) == "cat/indoor/night/a.png"

    def test_loose_images_are_unlabelled(self, tmp_path):
        put(tmp_path / "b.png")
        put(tmp_path / "a.png")
        source = FolderSource(tmp_path, ["cat", "dog"])
        assert [source.path(i) for i in range(2)] == ["a.png", "b.png"]
        assert {source.label(i) for i in range(2)} == {UNLABELLED}
        assert not source.labelled

    def test_hidden_files_and_folders_are_passed_over(self, tmp_path):
        put(tmp_path / "cat/a.png")
        for hidden in (".cache/x.png", "cat/._a.png", "cat/.thumbnails/a.png", ".x.png"):
            put(tmp_path / hidden)
        source = FolderSource(tmp_path)
        assert source.classes == ("cat",)
        assert source.files == ["cat/a.png"]

    def test_extensions_count_in_any_case_and_other_files_do_not(self, tmp_path):
        for name in ("a.PNG", "b.Jpeg", "c.TIF", "d.webp", "e.bmp", "f.gif"):
            put(tmp_path / "cat" / name)
        for name in ("labels.csv", "notes", "Thumbs.db", "x.png.part"):
            (tmp_path / "cat" / name).write_text("no image")
        assert len(FolderSource(tmp_path)) == 6

    @pytest.mark.parametrize("extension", ["eps", "h5", "mpg", "wmf", "grib"])
    def test_formats_that_need_another_program_are_no_images(self, tmp_path, extension):
        put(tmp_path / "cat/a.png")
        (tmp_path / f"cat/data.{extension}").write_bytes(b"x")
        assert FolderSource(tmp_path).files == ["cat/a.png"]

    def test_postscript_named_png_never_reaches_an_interpreter(self, tmp_path, monkeypatch):
        put(tmp_path / "cat/a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a program was started"))
        with pytest.raises(UnidentifiedImageError):
            FolderSource(tmp_path).load(0).load()

    def test_names_that_are_no_utf8_or_no_single_line_are_shown_escaped(self, tmp_path):
        folder = os.fsencode(tmp_path) + b"/caf\xe9"
        os.mkdir(folder)
        for name in (b"\xff.png", b"a\nb.png", "é.png".encode()):
            with open(folder + b"/" + name, "wb") as file:
                Image.new("RGB", (2, 2)).save(file, format="PNG")
        source = FolderSource(tmp_path)
        assert source.classes == (r"caf\xe9",)
        assert {source.path(i) for i in range(3)} == {r"caf\xe9/\xff.png", r"caf\xe9/a\nb.png", r"caf\xe9/é.png"}
        for index in range(3):
            with source.load(index) as image:
                assert image.size == (2, 2)
        assert FolderSource(tmp_path, {r"caf\xe9": "café"}).classes == ("café",)


class TestOddFiles:
    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
    def test_what_is_no_regular_file_is_refused_without_being_opened(self, tmp_path, kind, monkeypatch):
        odd = put(tmp_path / "cat/a.png")
        source = FolderSource(tmp_path)
        odd.unlink()
        if kind == "pipe":
            os.mkfifo(odd)
        elif kind == "socket":
            monkeypatch.chdir(odd.parent)  # a socket's path is short
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(odd.name)
        elif kind == "device":
            odd.symlink_to("/dev/zero")
        else:
            odd.mkdir()
        with pytest.raises(OSError, match="not a regular file"):
            source.load(0)
        assert source.lossy_formats() == ()

    def test_a_pipe_counts_as_an_image_that_cannot_be_read(self, tmp_path):
        put(tmp_path / "cat/a.png")
        os.mkfifo(tmp_path / "cat/b.png")
        assert FolderSource(tmp_path).files == ["cat/a.png", "cat/b.png"]

    def test_an_empty_file_says_so(self, tmp_path):
        put(tmp_path / "cat/a.png").write_bytes(b"")
        with pytest.raises(OSError, match="the file is empty"):
            FolderSource(tmp_path).load(0)

    @pytest.mark.parametrize("target", ["missing.png", "a.png"], ids=["dangling", "loop"])
    def test_a_link_that_leads_nowhere_counts_and_cannot_be_read(self, tmp_path, target):
        put(tmp_path / "cat/z.png")
        (tmp_path / "cat/a.png").symlink_to(target)
        source = FolderSource(tmp_path)
        assert source.files == ["cat/a.png", "cat/z.png"]
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            source.load(0)

    @pytest.mark.parametrize("target", [".", "..", "../..", "/"])
    def test_a_folder_link_to_an_enclosing_folder_is_not_followed(self, tmp_path, target):
        put(tmp_path / "cat/a.png")
        put(tmp_path / "dog/b.png")
        (tmp_path / "cat/loop").symlink_to(target)
        assert FolderSource(tmp_path).files == ["cat/a.png", "dog/b.png"]

    def test_a_folder_link_that_leads_outside_is_followed_once(self, tmp_path):
        outside = tmp_path / "outside"
        put(outside / "x.png")
        (outside / "back").symlink_to(tmp_path / "data")
        put(tmp_path / "data/cat/a.png")
        for name in ("one", "two"):
            (tmp_path / "data/cat" / name).symlink_to(outside)
        assert FolderSource(tmp_path / "data").files == ["cat/a.png", "cat/one/x.png"]

    def test_classes_that_link_to_each_other_end(self, tmp_path):
        names = [f"class{i}" for i in range(8)]
        for name in names:
            put(tmp_path / name / "a.png")
            for other in names:
                (tmp_path / name / f"to-{other}").symlink_to(tmp_path / other)
        assert len(FolderSource(tmp_path)) == 8 * 8

    def test_a_folder_that_cannot_be_listed_is_named(self, tmp_path, monkeypatch):
        put(tmp_path / "cat/a.png")
        scandir = os.scandir

        def guarded(folder):  # tests may run as root, whom no permission stops
            if str(folder).endswith("cat"):
                raise PermissionError(13, "Permission denied", str(folder))
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", guarded)
        assert "cat' cannot be listed (Permission denied): make it readable" in refusal(tmp_path)


class TestRefusals:
    def test_missing_root(self, tmp_path):
        assert refusal(tmp_path / "none") == (
            f"data root '{tmp_path}/none' is not a folder: give an existing one with --data.root"
        )

    def test_root_that_is_a_file(self, tmp_path):
        assert "is not a folder" in refusal(put(tmp_path / "a.png"))

    def test_empty_root(self, tmp_path):
        assert "holds no image that Pillow can decode: give a folder laid out as" in refusal(tmp_path)

    def test_empty_class_folder(self, tmp_path):
        put(tmp_path / "cat/a.png")
        (tmp_path / "dog").mkdir()
        assert "dog' holds no image that Pillow can decode: remove it or fill it" in refusal(tmp_path)

    def test_loose_images_beside_class_folders(self, tmp_path):
        put(tmp_path / "cat/a.png")
        put(tmp_path / "stray.png")
        assert "holds class folders and loose images such as 'stray.png': move" in refusal(tmp_path)


class TestClassNames:
    @pytest.fixture
    def root(self, tmp_path):
        for folder in ("n01", "n02", "n03"):
            put(tmp_path / folder / "a.png")
        return tmp_path

    def test_a_map_renames_folders(self, root):
        assert FolderSource(root, {"n03": "fox", "n01": "cat"}).classes == ("cat", "n02", "fox")

    def test_a_list_names_the_sorted_folders(self, root):
        assert FolderSource(root, ["cat", "dog", "fox"]).classes == ("cat", "dog", "fox")

    def test_a_list_of_another_length_is_refused(self, root):
        message = refusal(root, ["cat", "dog"])
        assert "class_names lists 2 names, but" in message
        assert "has 3 class folders: list one name per folder, in the order of the sorted folder names" in message

    def test_a_map_from_a_folder_that_is_not_there_is_refused(self, root):
        assert "class_names maps 'n04', but" in refusal(root, {"n01": "cat", "n04": "dog"})

    @pytest.mark.parametrize("names", [None, {"a": "cat"}])
    def test_loose_images_need_a_list(self, tmp_path, names):
        put(tmp_path / "a.png")
        assert "list the candidate classes with --data.class_names" in refusal(tmp_path, names)


class TestLossyFormats:
    @pytest.mark.parametrize(("name", "found"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP")])
    def test_by_extension(self, tmp_path, name, found):
        put(tmp_path / "cat/a.png")
        put(tmp_path / "dog" / name)
        assert FolderSource(tmp_path).lossy_formats() == (found,)

    def test_by_header_where_the_extension_lies(self, tmp_path):
        put(tmp_path / "cat/a.png", format="JPEG")
        assert FolderSource(tmp_path).lossy_formats() == ("JPEG",)

    def test_lossless_formats_are_none(self, tmp_path):
        for extension in ("png", "bmp", "tiff", "gif"):
            put(tmp_path / f"cat/a.{extension}")
        assert FolderSource(tmp_path).lossy_formats() == ()

    def test_a_header_that_cannot_be_read_is_left_to_reading(self, tmp_path):
        buffer = BytesIO()
        Image.new("RGB", (4, 4)).save(buffer, format="PNG")
        put(tmp_path / "cat/a.png").write_bytes(buffer.getvalue()[:20])
        assert FolderSource(tmp_path).lossy_formats() == ()

    def test_a_few_headers_stand_for_many_files(self, tmp_path, monkeypatch):
        for number in range(70):
            put(tmp_path / f"cat/{number}.png")
        source = FolderSource(tmp_path)
        opened = []
        monkeypatch.setattr(source, "load", lambda index: opened.append(index) or Image.new("RGB", (1, 1)))
        source.lossy_formats()
        assert len(opened) <= 32
        assert opened[-1] > 60
