from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5

from datamodules import CIFAR10, CIFAR100, STL10
from datamodules.errors import UserError
from datamodules.prompts import published_templates
from tests.support.archives import write_cifar10, write_stl10
from tests.support.data_sets import cifar100


@pytest.fixture
def root(tmp_path):
    cifar100(tmp_path)
    return tmp_path


def opened(root, **options):
    data = CIFAR100(root, num_workers=0, degradations=[], batch_size=100, verify_checksums=False, **options)
    data.setup("test")
    return data


@pytest.mark.parametrize("split", ["train", "test"])
def test_reads_what_torchvision_reads_with_words_between_spaces(root, monkeypatch, split):
    for lists in ("train_list", "test_list"):
        files = [
            [name, calculate_md5(root / "cifar-100-python" / name)] for name, _ in getattr(datasets.CIFAR100, lists)
        ]
        monkeypatch.setattr(datasets.CIFAR100, lists, files)
    meta = {**datasets.CIFAR100.meta, "md5": calculate_md5(root / "cifar-100-python/meta")}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    oracle = datasets.CIFAR100(root, train=split == "train")
    data = opened(root, split=split)
    [batch] = data.test_dataloader()
    np.testing.assert_array_equal(batch.views["original"].permute(0, 2, 3, 1), oracle.data)
    assert batch.labels.tolist() == oracle.targets
    assert data.class_names == tuple(name.replace("_", " ") for name in oracle.classes)
    assert data.class_names[0] == "aquarium fish"


def test_prompts_are_what_the_report_says(root, tmp_path):
    said = opened(root).describe()
    assert (said["name"], said["split"], said["lossy_source_formats"]) == ("cifar100", "test", [])
    write_cifar10(tmp_path / "others")
    write_stl10(tmp_path / "others")
    for kind, name in ((CIFAR100, "cifar100"), (CIFAR10, "cifar10"), (STL10, "stl10")):
        data = kind(root if kind is CIFAR100 else tmp_path / "others", verify_checksums=False)
        data.setup("test")
        assert data.templates == published_templates(name)
        assert data.describe()["name"] == name


def test_a_download_is_torchvisions_own_and_a_failed_one_is_a_line(tmp_path, monkeypatch):
    asked = []

    def refuse(url, *args, **kwargs):
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    with pytest.raises(UserError, match=r"CIFAR100 could not be downloaded from https://.*copy cifar-100-python there"):
        CIFAR100(tmp_path, download=True).prepare_data()
    assert asked == [datasets.CIFAR100.url]


def test_a_copy_with_unknown_sums_is_refused(root):
    with pytest.raises(UserError, match="has a checksum that torchvision does not know"):
        CIFAR100(root).setup("test")
