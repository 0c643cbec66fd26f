from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5

from datamodules import STL10
from datamodules.errors import UserError
from tests.support.archives import STL10_CLASSES, write_stl10


def trust(monkeypatch, folder):
    """Make torchvision's sums those of the files in `folder`, of which it also wants the unlabelled images."""
    (folder / "unlabeled_X.bin").write_bytes(b"")
    sums = {file.name: calculate_md5(file) for file in folder.iterdir()}
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(datasets.STL10, lists, [[n, sums[n]] for n, _ in getattr(datasets.STL10, lists)])


def read(root, **options):
    data = STL10(root, **{"num_workers": 0, "degradations": [], **options})
    data.prepare_data()
    data.setup("test")
    [batch] = data.test_dataloader()
    return data, batch


def refusal(root, **options):
    with pytest.raises(UserError) as caught:
        read(root, **options)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.on_command_line()


@pytest.fixture
def offline(monkeypatch):
    def refuse(url, *args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.stl10.download_and_extract_archive", refuse)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("verify", [True, False])
def test_reads_what_torchvision_reads_the_right_way_up(tmp_path, monkeypatch, split, verify):
    folder, images = write_stl10(tmp_path)
    trust(monkeypatch, folder)
    data, batch = read(tmp_path, split=split, verify_checksums=verify)
    oracle = datasets.STL10(tmp_path, split=split)
    np.testing.assert_array_equal(batch.views["original"], oracle.data)
    np.testing.assert_array_equal(batch.views["original"].permute(0, 2, 3, 1), images[split])
    assert batch.labels.tolist() == oracle.labels.tolist()
    assert data.class_names == STL10_CLASSES == tuple(oracle.classes)
    assert data.describe()["name"] == "stl10"


def test_the_unlabelled_images_are_not_needed(tmp_path, monkeypatch, offline):
    folder, _ = write_stl10(tmp_path)
    trust(monkeypatch, folder)
    (folder / "unlabeled_X.bin").unlink()
    assert len(read(tmp_path, download=True)[1]) == 3


def test_a_copy_with_unknown_sums_is_refused_with_the_mend(tmp_path):
    write_stl10(tmp_path)
    message = refusal(tmp_path)
    assert "test_X.bin' has a checksum that torchvision does not know: replace it, or add" in message
    assert "--data.verify_checksums false if you trust this copy" in message


def test_an_accepted_copy_is_never_downloaded_over(tmp_path, offline):
    write_stl10(tmp_path)
    data, batch = read(tmp_path, verify_checksums=False, download=True)
    assert len(batch) == 3
    assert not data.incomplete()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_file_is_named_with_the_mend(tmp_path, split):
    folder, _ = write_stl10(tmp_path)
    (folder / f"{split}_y.bin").unlink()
    message = refusal(tmp_path, split=split, verify_checksums=False)
    assert f"{split}_y.bin' is missing: name the folder that holds stl10_binary with --data.root, or add" in message


def test_a_failed_download_says_why_and_what_to_do(tmp_path, offline):
    message = refusal(tmp_path, download=True)
    assert message.startswith("STL10 could not be downloaded from http")
    assert "no route to host" in message
    assert "check the network, or copy stl10_binary there by hand" in message


@pytest.mark.parametrize("cut", [1, 96 * 96 * 3], ids=["bytes", "image"])
def test_a_shortened_file_is_refused_in_one_line(tmp_path, cut):
    folder, _ = write_stl10(tmp_path)
    (folder / "test_X.bin").write_bytes((folder / "test_X.bin").read_bytes()[:-cut])
    message = refusal(tmp_path, verify_checksums=False)
    assert "stl10_binary' does not hold a readable STL10 (ValueError: " in message


def test_a_copy_with_unknown_sums_that_cannot_be_replaced_is_named_as_such(tmp_path, offline):
    write_stl10(tmp_path)
    assert refusal(tmp_path, download=True) == refusal(tmp_path, split="train")
