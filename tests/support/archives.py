"""CIFAR-10 and STL-10 in torchvision's own formats, a few random images each."""

import pickle

import numpy as np

from datamodules.degradations.published import CORRUPTIONS

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def write_cifar10(root, names=CIFAR10_FILES, count=4):
    """Files in torchvision's format, each with `count` random images."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = rng.integers(0, 10, count).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10_CLASSES)}, protocol=2))
    return folder


def write_cifar10c(root):
    """Arrays in the format of CIFAR-10-C, of the images of the test batch that is there."""
    labels = pickle.loads((root / "cifar-10-batches-py/test_batch").read_bytes())["labels"]
    folder = root / "CIFAR-10-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.array(labels * 5, dtype=np.uint8))
    for seed, name in enumerate(CORRUPTIONS):
        pixels = np.random.default_rng(seed).integers(0, 256, (5 * len(labels), 32, 32, 3), dtype=np.uint8)
        np.save(folder / f"{name}.npy", pixels)
    return folder


def write_stl10(root):
    """Files as the data set's page describes them: images by channel, then column, then row; labels from 1."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images = {}
    for seed, (split, count) in enumerate([("train", 7), ("test", 3)]):
        rng = np.random.default_rng(seed)
        images[split] = rng.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        labels = rng.integers(1, 11, count).astype(np.uint8)
        (folder / f"{split}_X.bin").write_bytes(images[split].transpose(0, 3, 2, 1).tobytes())
        (folder / f"{split}_y.bin").write_bytes(labels.tobytes())
    (folder / "class_names.txt").write_text("\n".join(STL10_CLASSES) + "\n")
    return folder, images
