import os
import socket
import sys

import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

from datamodules import image_formats
from datamodules.degradations.formats import HEIC, JPEG_XL
from datamodules.errors import UserError
from datamodules.folders import FolderSource
from datamodules.sources import UNLABELLED

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
        assert list(source.files) == ["cat/a.png"]

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
        assert list(FolderSource(tmp_path).files) == ["cat/a.png"]

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
        assert source.already_lossy().formats == ()

    def test_a_pipe_counts_as_an_image_that_cannot_be_read(self, tmp_path):
        put(tmp_path / "cat/a.png")
        os.mkfifo(tmp_path / "cat/b.png")
        assert list(FolderSource(tmp_path).files) == ["cat/a.png", "cat/b.png"]

    def test_an_empty_file_says_so(self, tmp_path):
        put(tmp_path / "cat/a.png").write_bytes(b"")
        with pytest.raises(OSError, match="the file is empty"):
            FolderSource(tmp_path).load(0)

    @pytest.mark.parametrize("target", ["missing.png", "a.png"], ids=["dangling", "loop"])
    def test_a_link_that_leads_nowhere_counts_and_cannot_be_read(self, tmp_path, target):
        put(tmp_path / "cat/z.png")
        (tmp_path / "cat/a.png").symlink_to(target)
        source = FolderSource(tmp_path)
        assert list(source.files) == ["cat/a.png", "cat/z.png"]
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            source.load(0)

    @pytest.mark.parametrize("target", [".", "..", "../..", "/"])
    def test_a_folder_link_to_an_enclosing_folder_is_not_followed(self, tmp_path, target):
        put(tmp_path / "cat/a.png")
        put(tmp_path / "dog/b.png")
        (tmp_path / "cat/loop").symlink_to(target)
        assert list(FolderSource(tmp_path).files) == ["cat/a.png", "dog/b.png"]

    def test_a_folder_link_that_leads_outside_is_followed_once(self, tmp_path):
        outside = tmp_path / "outside"
        put(outside / "x.png")
        (outside / "back").symlink_to(tmp_path / "data")
        put(tmp_path / "data/cat/a.png")
        for name in ("one", "two"):
            (tmp_path / "data/cat" / name).symlink_to(outside)
        assert list(FolderSource(tmp_path / "data").files) == ["cat/a.png", "cat/one/x.png"]

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
        assert FolderSource(tmp_path).already_lossy().formats == (found,)

    def test_lossless_formats_are_none(self, tmp_path):
        for extension in ("png", "bmp", "tiff", "gif"):
            put(tmp_path / f"cat/a.{extension}")
        assert FolderSource(tmp_path).already_lossy().formats == ()

    def test_they_are_counted_and_the_first_is_named(self, tmp_path):
        put(tmp_path / "cat/a.png")
        for name in ("c.jpg", "b.jpg", "d.webp"):
            put(tmp_path / "cat" / name)
        lossy = FolderSource(tmp_path).already_lossy()
        assert (lossy.formats, lossy.count, lossy.first) == (("JPEG", "WEBP"), 3, "cat/b.jpg")


def write_mpo(file):
    """Two pictures in one file, as some cameras write them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(file, format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])


class TestFormats:
    def test_files_of_several_pictures_are_images_and_the_first_picture_counts(self, tmp_path):
        for name in ("cat/a.mpo", "dog/b.MPO"):
            write_mpo(tmp_path / name)
        source = FolderSource(tmp_path)
        assert list(source.files) == ["cat/a.mpo", "dog/b.MPO"]
        assert source.already_lossy().formats == ("MPO",)
        with source.load(0) as image:
            assert image.convert("RGB").getpixel((4, 4))[0] > 200

    def test_what_is_passed_over_is_counted_by_extension(self, tmp_path):
        put(tmp_path / "cat/a.png")
        for name in ("a.txt", "b.TXT", "list", "c.docx", ".hidden.txt"):
            (tmp_path / "cat" / name).write_text("x")
        (tmp_path / "labels.csv").write_text("x")
        counts = FolderSource(tmp_path).passed_over().split(", ")
        assert counts[0] == "2 .txt"
        assert set(counts[1:]) == {"1 .csv", "1 without extension", "1 .docx"}

    @pytest.mark.parametrize(
        ("ending", "format", "package"),
        [("heic", HEIC, "pillow-heif"), ("HIF", HEIC, "pillow-heif"), ("jxl", JPEG_XL, "pillow-jxl-plugin")],
    )
    def test_images_that_need_a_plugin_are_named_with_it(self, tmp_path, monkeypatch, ending, format, package, forget):
        monkeypatch.setitem(sys.modules, format.plugin, None)  # not installed
        put(tmp_path / "cat/a.png")
        (tmp_path / f"cat/b.{ending}").write_bytes(b"x")
        assert f"1 .{ending.lower()}" in FolderSource(tmp_path).passed_over()
        assert f"needs a plugin: `pip install {package}`" in FolderSource(tmp_path).passed_over()
        (tmp_path / "cat/a.png").unlink()
        assert f"`pip install {package}`" in refusal(tmp_path)

    def test_what_else_was_imported_decides_nothing(self, tmp_path, monkeypatch, forget):
        put(tmp_path / "cat/a.png")
        (tmp_path / "cat/b.foreign").write_bytes(b"x")
        before = list(FolderSource(tmp_path).files)

        class Foreign(ImageFile.ImageFile):
            format = "FOREIGN"

        monkeypatch.setitem(Image.OPEN, "FOREIGN", (Foreign, None))
        monkeypatch.setitem(Image.EXTENSION, ".foreign", "FOREIGN")
        forget()
        assert list(FolderSource(tmp_path).files) == before == ["cat/a.png"]


@pytest.fixture
def forget():
    """Which formats there are is found out anew, before and after a test."""

    def clear():
        image_formats.formats_by_extension.cache_clear()
        image_formats.readable_formats.cache_clear()

    clear()
    yield clear
    clear()
