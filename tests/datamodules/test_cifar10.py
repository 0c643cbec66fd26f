import pickle
import shutil
import subprocess
import sys
import tarfile
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5

from datamodules import CIFAR10, ImageFolder
from datamodules.errors import UserError
from tests.support.archives import CIFAR10_CLASSES, write_cifar10

TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))


def trust(monkeypatch, folder):
    """Make torchvision's sums those of the files in `folder`."""
    sums = {file.name: calculate_md5(file) for file in folder.iterdir()}
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(datasets.CIFAR10, lists, [[n, sums[n]] for n, _ in getattr(datasets.CIFAR10, lists)])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": sums["batches.meta"]})


def read(root, **options):
    data = CIFAR10(root, **{"num_workers": 0, "batch_size": 20000, "degradations": [], **options})
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

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("verify", [True, False])
def test_reads_what_torchvision_reads(tmp_path, monkeypatch, split, verify):
    trust(monkeypatch, write_cifar10(tmp_path))
    data, batch = read(tmp_path, split=split, verify_checksums=verify)
    oracle = datasets.CIFAR10(tmp_path, train=split == "train")
    np.testing.assert_array_equal(batch.views["original"].permute(0, 2, 3, 1), oracle.data)
    assert batch.labels.tolist() == oracle.targets
    assert data.class_names == CIFAR10_CLASSES == tuple(oracle.classes)
    assert data.describe()["name"] == "cifar10"


def test_a_copy_with_unknown_sums_is_refused_with_the_mend(tmp_path):
    write_cifar10(tmp_path)
    message = refusal(tmp_path)
    assert "batches.meta' has a checksum that torchvision does not know: replace it, or add" in message
    assert "--data.verify_checksums false if you trust this copy" in message


def test_an_accepted_copy_is_never_downloaded_over(tmp_path, offline):
    write_cifar10(tmp_path)
    _, batch = read(tmp_path, verify_checksums=False, download=True)
    assert len(batch) == 4


def test_without_verification_the_batches_that_are_there_are_the_split(tmp_path):
    write_cifar10(tmp_path, names=("data_batch_2", "test_batch"))
    assert len(read(tmp_path, split="train", verify_checksums=False)[1]) == 4


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("verify", [True, False])
def test_a_missing_file_is_named_with_the_mend(tmp_path, monkeypatch, split, verify):
    folder = write_cifar10(tmp_path)
    trust(monkeypatch, folder)
    for name in TRAIN if split == "train" else ["test_batch"]:
        (folder / name).unlink()
    message = refusal(tmp_path, split=split, verify_checksums=verify)
    assert f"{'data_batch_1' if split == 'train' else 'test_batch'}' is missing: name the folder that holds" in message
    assert "cifar-10-batches-py with --data.root, or add --data.download true" in message


def test_a_failed_download_says_why_and_what_to_do(tmp_path, offline):
    message = refusal(tmp_path, download=True)
    assert message.startswith("CIFAR10 could not be downloaded from https://")
    assert "no route to host" in message
    assert "check the network, or copy cifar-10-batches-py there by hand" in message


def test_a_copy_with_unknown_sums_that_cannot_be_replaced_is_named_as_such(tmp_path, offline):
    write_cifar10(tmp_path)
    assert refusal(tmp_path, download=True) == refusal(tmp_path)


def test_a_download_brings_the_images(tmp_path, monkeypatch):
    folder = write_cifar10(tmp_path / "server")
    trust(monkeypatch, folder)
    with tarfile.open(tmp_path / "server/cifar.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    server = tmp_path / "server/cifar.tar.gz"
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", lambda url, file: shutil.copy(server, file))
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", calculate_md5(server))
    data = CIFAR10(tmp_path / "data", download=True)
    assert data.incomplete()
    assert len(read(tmp_path / "data", download=True)[1]) == 4
    assert not data.incomplete()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, protocol=2),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, protocol=2),
        pickle.dumps({"data": np.zeros((1, 3000), np.uint8), "labels": [0]}, protocol=2),
        pickle.dumps({"pixels": 1}, protocol=2),
    ],
    ids=["empty", "text", "count", "label", "size", "keys"],
)
def test_a_file_that_is_no_batch_is_refused_in_one_line(tmp_path, content):
    (write_cifar10(tmp_path) / "test_batch").write_bytes(content)
    message = refusal(tmp_path, verify_checksums=False)
    assert "cifar-10-batches-py' does not hold a readable CIFAR10 (" in message
    assert message.endswith("replace it, or remove it and add --data.download true")


@pytest.mark.timeout(120)
def test_real_images_are_the_same_from_batches_and_from_a_folder_of_pngs(shared, tmp_path):
    layouts = {"torchvision": [], "folder": ["--limit", "100"]}
    script = [sys.executable, shared / "cifar10/expand.py"]
    running = [
        subprocess.Popen([*script, tmp_path / layout, "--layout", layout, *options])
        for layout, options in layouts.items()
    ]
    assert [process.wait() for process in running] == [0, 0]
    data, batches = read(tmp_path / "torchvision", verify_checksums=False)
    assert len(batches) == 10000
    names = {"num_workers": 0, "batch_size": 100, "degradations": ["jpeg-50"]}
    folder = ImageFolder(tmp_path / "folder", **names)
    folder.setup("test")
    [pngs] = folder.test_dataloader()
    numbers = torch.tensor([int(path[-9:-4]) for path in pngs.paths])
    assert sorted(numbers.tolist()) == list(range(100))
    assert data.class_names == folder.class_names
    assert torch.equal(batches.labels[numbers], pngs.labels)
    assert torch.equal(batches.views["original"][numbers], pngs.views["original"])
    again, _ = read(tmp_path / "torchvision", verify_checksums=False, indices=numbers.tolist(), **names)
    [compressed] = again.test_dataloader()
    assert torch.equal(compressed.views["jpeg-50"], pngs.views["jpeg-50"])
    assert torch.equal(compressed.encoded_bytes["jpeg-50"], pngs.encoded_bytes["jpeg-50"])
