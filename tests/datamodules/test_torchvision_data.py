import json
import sys
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from bench.clip.text_classifier import check_prompts
from datamodules import Torchvision
from datamodules.decoding import to_rgb
from datamodules.errors import UserError
from datamodules.prompts import published_class_names
from datamodules.torchvision_sets import SETS
from tests.support.data_sets import WRITERS

OWN_NAMES = {
    "DTD": ("banded", "polka-dotted"),
    "FGVCAircraft": ("707-320", "A300B4", "F-16A/B", "F/A-18"),
    "Food101": ("apple pie", "baby back ribs"),
    "RenderedSST2": ("negative", "positive"),
    "StanfordCars": ("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"),
    "SUN397": ("airplane cabin", "apse indoor", "beach"),
}
"""Of the sets whose own names go into the prompt, as data/prompts.md of openai/CLIP spells them."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for write in WRITERS.values():
        write(folder)
    return folder


@pytest.fixture(autouse=True)
def sums_are_not_compared(monkeypatch):
    """The files are not the real ones; h5py is stood in for by what reads arrays."""

    class File:
        def __init__(self, path):
            self.array = np.load(path)

        def __enter__(self):
            return {"x": self.array, "y": self.array}

        def __exit__(self, *_):
            pass

    for module in ("flowers102", "svhn", "fer2013"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: True)
    h5py = ModuleType("h5py")
    h5py.File = File
    monkeypatch.setitem(sys.modules, "h5py", h5py)


def opened(name, root, split="test"):
    data = Torchvision(name, root, split=split, num_workers=0, degradations=["jpeg-50"], batch_size=500)
    data.setup("test")
    return data


def test_every_set_of_the_table_has_a_test():
    assert set(WRITERS) == set(SETS)


@pytest.mark.parametrize(("name", "split"), [(name, split) for name in SETS for split in SETS[name].splits])
def test_images_and_labels_are_those_that_torchvision_reads(name, split, root):
    data = opened(name, root, split)
    oracle = getattr(datasets, name)(root, **SETS[name].splits[split])
    order = range(len(oracle))
    if name == "SUN397":  # torchvision lists it as the file system does
        order = np.argsort([str(file) for file in oracle._image_files]).tolist()
    assert len(data.chosen) == len(oracle) > 1
    for index in {0, 1, len(oracle) - 1}:
        image, label = oracle[order[index]]
        assert np.array_equal(np.asarray(to_rgb(data.chosen.load(index))), np.asarray(image.convert("RGB")))
        if name != "FER2013":
            assert data.chosen.label(index) == label
    lossy = data.chosen.already_lossy()
    assert (lossy.formats, lossy.count) == ((("JPEG",), len(oracle)) if SETS[name].stored == "JPEG" else ((), 0))


@pytest.mark.parametrize("name", SETS)
def test_prompts_are_what_the_report_says(name, root):
    data = opened(name, root)
    said = data.describe()
    assert json.dumps(said)
    assert (said["name"], tuple(said["class_names"])) == (name.lower(), data.class_names)
    check_prompts(data.class_names, data.templates)
    names = published_class_names(SETS[name].prompts)
    assert data.class_names == (names or OWN_NAMES[name])


def test_names_belong_to_their_labels(root):
    assert opened("Caltech101", root).class_names[:4] == ("off-center face", "centered face", "leopard", "motorbike")
    labels = [opened("Caltech101", root).chosen.label(index) for index in range(5)]
    assert labels == [0, 1, 2, 2, 3]
    emotions = opened("FER2013", root)
    csv = ["angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"]  # Kaggle's order of the labels
    assert [emotions.class_names[emotions.chosen.label(3 * 0 + 2 * label)] for label in range(7)] == csv
    digits = opened("SVHN", root)
    assert [digits.class_names[digits.chosen.label(index)] for index in range(4)] == ["one", "zero", "nine", "three"]
    ours, torchvisions = published_class_names("flowers"), datasets.Flowers102.classes
    assert sum(a != b for a, b in zip(ours, torchvisions, strict=True)) == 3  # two spellings and a synonym


DOWNLOADS = {
    name: target
    for target, names in {
        "download_and_extract_archive": ["Caltech101", "Country211", "DTD", "EuroSAT", "FGVCAircraft", "Flowers102",
                                         "Food101", "GTSRB", "MNIST", "OxfordIIITPet", "RenderedSST2", "SUN397"],
        "download_url": ["SVHN"], "download_file_from_google_drive": ["PCAM"],
    }.items() for name in names
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_a_download_is_torchvisions_own_and_a_failed_one_is_a_line(name, tmp_path, monkeypatch):
    asked = []

    def refuse(url, *args, **kwargs):
        asked.append(url)
        raise URLError("no route\nto host")

    if name in DOWNLOADS:
        monkeypatch.setattr(f"{getattr(datasets, name).__module__}.{DOWNLOADS[name]}", refuse)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda path, md5=None: False)
    monkeypatch.setattr("torchvision.datasets.fer2013.check_integrity", lambda path, md5=None: False)
    data = Torchvision(name, tmp_path, download=True, num_workers=0)
    assert data.incomplete()
    with pytest.raises(UserError) as caught:
        data.prepare_data()
    message = str(caught.value)
    assert "\n" not in message
    assert bool(asked) == (name in DOWNLOADS)
    assert ("no route to host" if asked else f"torchvision cannot download {name}: ") in message
    assert message.startswith((f"{name} could not be downloaded into", "torchvision cannot"))


def test_what_is_there_is_not_downloaded_again(root, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.food101.download_and_extract_archive", None)
    data = Torchvision("Food101", root, download=True)
    assert not data.incomplete()
    data.prepare_data()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "Food102"}, "--data.dataset 'Food102' is none of Caltech101, "),
        ({"dataset": "food101"}, "did you mean Food101?"),
        ({"dataset": "Food101", "split": "val"}, "--data.split 'val' is none of Food101: choose train or test"),
        ({"dataset": "Food101"}, "does not hold a readable Food101 (RuntimeError: Dataset not found"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path):
    with pytest.raises(UserError) as caught:
        Torchvision(root=tmp_path, **options).setup("test")
    assert message in caught.value.on_command_line()
    assert "\n" not in str(caught.value)


def test_a_set_with_another_number_of_classes_is_refused(tmp_path):
    WRITERS["EuroSAT"](tmp_path)
    (tmp_path / "eurosat/2750/Class3").rename(tmp_path / "eurosat/2750/.Class3")
    (tmp_path / "eurosat/2750/.Class3/Class3_1.jpg").unlink()
    (tmp_path / "eurosat/2750/.Class3").rmdir()
    with pytest.raises(UserError, match=r"it has 9 classes, not 10"):
        opened("EuroSAT", tmp_path)


def test_the_page_lists_every_set_as_the_table_has_it(repository):
    page = (repository / "docs/datasets.md").read_text(encoding="utf-8")
    for name, one in SETS.items():
        splits = ", ".join(one.splits) if any(one.splits.values()) else "none"
        assert f"| `{name}` | {splits} | {one.stored} | {'torchvision' if one.by_hand is None else 'you: '}" in page
