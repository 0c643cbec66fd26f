import numpy as np
import pytest
from PIL import Image

from datamodules import ImageFolder
from datamodules.errors import UserError
from datamodules.sources import UNLABELLED


def put(file, size=(8, 6), colour="red", **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file, **options)


def opened(root, stage="test", **options):
    data = ImageFolder(root, **{"num_workers": 0, "degradations": ["jpeg-50"], **options})
    data.setup(stage)
    return data


def read(loader, data):
    """Batches as the trainer hands them to a model."""
    return [data.on_before_batch_transfer(batch, 0) for batch in loader]


@pytest.fixture
def root(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        put(tmp_path / name)
    return tmp_path


def test_labels_are_positions_in_class_names(root):
    data = opened(root, class_names={"dog": "hound"})
    [batch] = data.test_dataloader()
    assert data.class_names == ("cat", "hound")
    assert batch.labels.tolist() == [0, 0, 1]
    assert batch.paths == ["cat/1.png", "cat/2.png", "dog/3.png"]
    assert list(batch.views) == list(data.views) == ["original", "jpeg-50"]


def test_a_name_given_to_two_classes_is_refused(root):
    with pytest.raises(UserError, match="class name 'cat' is listed twice: give each class a name of its own"):
        opened(root, class_names={"dog": "cat"})


def test_names_that_differ_only_in_how_accents_are_stored_are_one_name(root):
    with pytest.raises(UserError, match="class name 'caf\u00e9' is listed twice"):
        opened(root, class_names={"cat": "caf\u00e9", "dog": "cafe\u0301"})


@pytest.mark.parametrize("names", [None, ["cat"], []])
def test_fewer_than_two_classes_are_refused_before_anything_is_measured(tmp_path, names):
    put(tmp_path / ("cat/1.png" if names is None else "1.png"))
    with pytest.raises(UserError, match=r"the classes are \[('cat')?\], which leaves nothing to choose between"):
        opened(tmp_path, "predict", class_names=names)


def test_mixed_sizes_come_as_lists_at_native_size(root):
    put(root / "cat/0.png", size=(30, 20))
    [batch] = opened(root).test_dataloader()
    assert [tuple(image.shape) for image in batch.views["jpeg-50"]] == [(3, 20, 30)] + [(3, 6, 8)] * 3


def test_a_flat_folder_has_candidate_classes_and_no_labels(tmp_path):
    put(tmp_path / "a.png")
    data = opened(tmp_path, "predict", class_names=["cat", "dog"])
    [batch] = data.predict_dataloader()
    assert (data.class_names, data.labelled, batch.labels.tolist()) == (("cat", "dog"), False, [UNLABELLED])


def test_a_limit_that_leaves_most_classes_out_is_said(tmp_path, caplog):
    for place in range(40):
        put(tmp_path / f"class {place // 10}/{place:02d}.png")
    opened(tmp_path, limit=12, every=2)
    assert "images that" not in caplog.text  # three of four classes
    opened(tmp_path, limit=8)
    assert "test: the 8 images that --data.limit takes are of 1 of 4 classes: --data.every 5 in its" in caplog.text
    assert len({opened(tmp_path, every=5).chosen.label(place) for place in range(0, 40, 5)}) == 4


class TestSplits:
    def test_splits_of_other_classes_are_said_to_be(self, tmp_path, caplog):
        for file in ("train/cat/1.png", "train/dog/1.png", "train/eel/1.png", "test/cat/1.png", "test/dog/1.png"):
            put(tmp_path / file)
        opened(tmp_path)
        assert "test: 'eel' is a class folder there or in train alone, so that each has its own choice" in caplog.text

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_folders_named_train_and_test_are_the_splits(self, tmp_path, split):
        for own in ("train", "test", "extra"):
            put(tmp_path / own / "cat" / f"{own}.png")
            put(tmp_path / own / "dog" / f"{own}.png")
        [batch] = opened(tmp_path, split=split).test_dataloader()
        assert batch.paths == [f"cat/{split}.png", f"dog/{split}.png"]

    @pytest.mark.parametrize("others", [[], ["val"]])
    def test_a_split_may_be_missing_until_it_is_asked_for(self, tmp_path, others):
        for own in ("test", *others):
            put(tmp_path / own / "cat/a.png")
            put(tmp_path / own / "dog/a.png")
        assert opened(tmp_path).class_names == ("cat", "dog")
        there = " and ".join(["test", *others])
        with pytest.raises(UserError, match=f"has no folder 'train', only {there}: add it, or test another"):
            opened(tmp_path, "fit")

    def test_the_validation_split_of_a_folder_can_be_tested(self, tmp_path):
        for own in ("train", "val"):
            for name in ("cat", "dog"):
                put(tmp_path / own / name / f"{own}.png")
        [batch] = opened(tmp_path, split="val").test_dataloader()
        assert batch.paths == ["cat/val.png", "dog/val.png"]
        with pytest.raises(UserError, match="has no folder 'test', only train and val: add it, or test another with"):
            opened(tmp_path)

    def test_a_split_that_folders_of_classes_do_not_have_is_refused(self, root):
        with pytest.raises(UserError, match="has no folder 'val': leave `split` at test"):
            opened(root, split="val")

    def test_a_class_may_be_called_train(self, tmp_path):
        for name in ("train", "car"):
            put(tmp_path / name / "a.png")
        assert opened(tmp_path).class_names == ("car", "train")

    def test_without_splits_every_stage_sees_the_one_there_is(self, root):
        assert opened(root, split="train").class_names == opened(root, "fit").class_names == ("cat", "dog")

    def test_a_missing_root_is_named(self, tmp_path):
        with pytest.raises(UserError, match=r"none' is not a folder: give an existing one with `root`"):
            opened(tmp_path / "none")

    def test_home_is_expanded(self, root, monkeypatch):
        monkeypatch.setenv("HOME", str(root))
        assert opened("~").class_names == ("cat", "dog")


class TestUnreadable:
    @pytest.fixture
    def spoilt(self, root):
        (root / "cat/2.png").write_bytes((root / "cat/2.png").read_bytes()[:50])
        (root / "dog/4.png").write_bytes(b"")
        return root

    @pytest.mark.parametrize("workers", [0, 2])
    def test_raise_names_the_file_the_reason_and_the_mend(self, spoilt, workers):
        data = opened(spoilt, num_workers=workers)
        with pytest.raises(UserError) as caught:
            read(data.test_dataloader(), data)
        assert str(caught.value).startswith("image cat/2.png cannot be read (OSError: ")
        assert caught.value.on_command_line().endswith("replace it, or leave such images out with --data.on_error skip")
        assert len(str(caught.value).splitlines()) == 1

    def test_skipped_training_images_are_listed_and_not_counted(self, spoilt):
        for number in range(5, 9):
            put(spoilt / f"dog/{number}.png")
        data = opened(spoilt, "fit", on_error="skip", validation_every=7)
        assert data.training_labels() == {"cat": 1, "dog": 5}
        read(data.train_dataloader(), data)
        assert [(index, image.path) for index, image in sorted(data.unreadable.items())] == [
            (1, "cat/2.png"),
            (3, "dog/4.png"),
        ]
        assert data.training_labels(data.unreadable) == {"dog": 4}
        data.setup("fit")
        assert not data.unreadable

    @pytest.mark.parametrize("workers", [0, 2])
    def test_skip_hands_them_on(self, spoilt, workers):
        data = opened(spoilt, num_workers=workers, on_error="skip", batch_size=1)
        batches = read(data.test_dataloader(), data)
        assert [index for batch in batches for index in batch.indices.tolist()] == [0, 2]
        skipped = [image for batch in batches for image in batch.unreadable]
        assert [(image.index, image.path) for image in skipped] == [(1, "cat/2.png"), (3, "dog/4.png")]
        assert skipped[1].reason == "OSError: the file is empty"


class TestLossySources:
    @pytest.mark.parametrize(("name", "format"), [("a.jpg", "JPEG"), ("a.webp", "WEBP")])
    def test_the_line_names_the_format_the_count_the_first_and_the_consequence(self, root, name, format, caplog):
        put(root / "cat" / name, format=format)
        data = opened(root)
        [line] = [record.message for record in caplog.records]
        assert f"1 of 4 source images are already compressed ({format}; the first is cat/{name})" in line
        assert "drops are biased, mostly down" in line
        assert data.describe()["lossy_source_formats"] == [format]

    def test_lossless_sources_warn_of_nothing(self, root, caplog):
        assert opened(root).describe()["lossy_source_formats"] == []
        assert not caplog.records

    def test_what_is_passed_over_is_said_once(self, root, caplog):
        (root / "cat/notes.txt").write_text("x")
        data = opened(root)
        data.setup("test")
        assert [record.message for record in caplog.records] == [
            "test: files that are no images are passed over: 1 .txt"
        ]


def test_description_says_which_images_without_saying_where(root):
    described = opened(root, every=2).describe()
    assert described["root"] == root.name
    assert (described["split"], described["images_in_split"], described["images_selected"]) == ("test", 3, 2)
    assert described["class_names"] == ["cat", "dog"]
    assert str(root.parent) not in str(described)


def test_pixels_are_those_of_the_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 5, 3), dtype=np.uint8)
    (tmp_path / "cat").mkdir()
    Image.fromarray(pixels).save(tmp_path / "cat/a.png")
    put(tmp_path / "dog/b.png", size=(5, 9))
    [batch] = opened(tmp_path).test_dataloader()
    np.testing.assert_array_equal(batch.views["original"][0].permute(1, 2, 0), pixels)
