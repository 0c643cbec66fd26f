"""torchvision's data sets in their own formats: a few tiny images each, with the index files of the real ones."""

import io
import pickle

import numpy as np
from PIL import Image

FILES = {"PNG": {"format": "PNG"}, "JPEG": {"format": "JPEG"}, "PPM": {"format": "PPM"}}


def picture(seed, size=(10, 8)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def save(path, seed, kind="JPEG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    picture(seed).save(buffer, **FILES[kind])
    path.write_bytes(buffer.getvalue())


def cifar100(root):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    names = [f"class_{number}" if number else "aquarium_fish" for number in range(100)]
    for seed, name in enumerate(["train", "test"]):
        rng = np.random.default_rng(seed)
        data = rng.integers(0, 256, (5, 3072), dtype=np.uint8)
        labels = rng.integers(0, 100, 5).tolist()
        content = {"data": data, "fine_labels": labels, "coarse_labels": [0] * 5}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": []}, protocol=2))


def caltech101(root):
    folder = root / "caltech101/101_ObjectCategories"
    (folder / "BACKGROUND_Google").mkdir(parents=True)
    for label, name in enumerate(["Faces", "Faces_easy", "Leopards", *(f"class_{number:03d}" for number in range(98))]):
        save(folder / name / "image_0001.jpg", label)
    save(folder / "Leopards/image_0002.jpg", 200)


def country211(root):
    for split in ("train", "valid", "test"):
        for label in range(211):
            save(root / f"country211/{split}/{label:03d}/a.jpg", label)


def dtd(root):
    folder = root / "dtd/dtd"
    files = ["banded/banded_0002.jpg", "polka-dotted/polka-dotted_0001.jpg", "banded/banded_0005.jpg"]
    for seed, file in enumerate(files):
        save(folder / "images" / file, seed)
    (folder / "labels").mkdir()
    for split in ("train", "val", "test"):
        (folder / f"labels/{split}1.txt").write_text("\n".join(files) + "\n")


def eurosat(root):
    for label in range(10):
        save(root / f"eurosat/2750/Class{label}/Class{label}_1.jpg", label)


def fer2013(root):
    (root / "fer2013").mkdir(parents=True)
    lines = ["emotion,pixels,Usage"]
    for label in range(7):
        pixels = np.random.default_rng(label).integers(0, 256, 48 * 48).tolist()
        for usage in ("Training", "PublicTest", "PrivateTest"):
            lines.append(f"{label},{' '.join(map(str, pixels))},{usage}")
    (root / "fer2013/fer2013.csv").write_text("\n".join(lines) + "\n")


def fgvc_aircraft(root):
    folder = root / "fgvc-aircraft-2013b/data"
    for seed in range(3):
        save(folder / f"images/000000{seed}.jpg", seed)
    (folder / "variants.txt").write_text("707-320\nA300B4\nF-16A/B\nF/A-18\n")
    for split in ("train", "val", "trainval", "test"):
        (folder / f"images_variant_{split}.txt").write_text("0000000 A300B4\n0000001 707-320\n0000002 A300B4\n")


def flowers102(root):
    from scipy.io import savemat

    folder = root / "flowers-102"
    for number in range(1, 5):
        save(folder / f"jpg/image_{number:05d}.jpg", number)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 3]])})
    savemat(
        folder / "setid.mat", {"trnid": np.array([[1, 2]]), "valid": np.array([[3, 4]]), "tstid": np.array([[4, 1]])}
    )


def food101(root):
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    for seed, file in enumerate(["apple_pie/1", "baby_back_ribs/2", "apple_pie/3"]):
        save(folder / f"images/{file}.jpg", seed)
    for split in ("train", "test"):
        (folder / f"meta/{split}.json").write_text(
            '{"baby_back_ribs": ["baby_back_ribs/2"], "apple_pie": ["apple_pie/1", "apple_pie/3"]}'
        )


def gtsrb(root):
    folder = root / "gtsrb"
    for label in range(43):
        save(folder / f"GTSRB/Training/{label:05d}/00000_00000.ppm", label, "PPM")
    for seed in range(2):
        save(folder / f"GTSRB/Final_Test/Images/0000{seed}.ppm", seed, "PPM")
    rows = "00000.ppm;53;54;6;5;48;49;16\n00001.ppm;42;45;5;5;36;40;1\n"
    (folder / "GT-final_test.csv").write_text("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n" + rows)


def mnist(root):
    folder = root / "MNIST/raw"
    folder.mkdir(parents=True)
    for split, seed in (("train", 0), ("t10k", 1)):
        rng = np.random.default_rng(seed)
        images, labels = rng.integers(0, 256, (4, 28, 28), np.uint8), rng.integers(0, 10, 4).astype(np.uint8)
        head = np.array([2051, 4, 28, 28], ">i4").tobytes()
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(np.array([2049, 4], ">i4").tobytes() + labels.tobytes())


def oxford_iiit_pet(root):
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    lines = []
    for label in range(37):
        save(folder / f"images/breed_{label}_1.jpg", label)
        lines.append(f"breed_{label}_1 {label + 1} {1 + label % 2} 1")
    for split in ("trainval", "test"):
        (folder / f"annotations/{split}.txt").write_text("\n".join(lines) + "\n")


def rendered_sst2(root):
    for split in ("train", "valid", "test"):
        for label, name in enumerate(["negative", "positive"]):
            save(root / f"rendered-sst2/{split}/{name}/{label}.png", label, "PNG")


def stanford_cars(root):
    from scipy.io import savemat

    folder = root / "stanford_cars"
    kind = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
    rows = np.array([(1, 2, "00001.jpg"), (1, 1, "00002.jpg")], dtype=kind)[None]
    for split in ("train", "test"):
        for seed in (1, 2):
            save(folder / f"cars_{split}/0000{seed}.jpg", seed)
    (folder / "devkit").mkdir()
    savemat(folder / "devkit/cars_train_annos.mat", {"annotations": rows})
    savemat(folder / "cars_test_annos_withlabels.mat", {"annotations": rows})
    names = np.array(
        ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"], dtype=object
    )
    savemat(folder / "devkit/cars_meta.mat", {"class_names": names[None]})


def sun397(root):
    folder = root / "SUN397"
    for seed, place in enumerate(["a/airplane_cabin", "a/apse/indoor", "b/beach"]):
        for number in range(2):
            save(folder / f"{place}/sun_a{seed}{number}.jpg", 10 * seed + number)
    (folder / "ClassName.txt").write_text("/a/airplane_cabin\n/a/apse/indoor\n/b/beach\n")


def svhn(root):
    from scipy.io import savemat

    root.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test", "extra"):
        images = np.random.default_rng(len(split)).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": images, "y": np.array([[1], [10], [9], [3]])})


def pcam(root):
    """As h5py would hand them out; see `h5_from_arrays`."""
    (root / "pcam").mkdir(parents=True)
    for split in ("train", "test", "valid"):
        rng = np.random.default_rng(len(split))
        for part, value in (("x", rng.integers(0, 256, (3, 96, 96, 3), np.uint8)),
                            ("y", np.array([0, 1, 1], np.uint8).reshape(3, 1, 1, 1))):  # fmt: skip
            with (root / f"pcam/camelyonpatch_level_2_split_{split}_{part}.h5").open("wb") as file:
                np.save(file, value)


WRITERS = {
    "Caltech101": caltech101, "Country211": country211, "DTD": dtd, "EuroSAT": eurosat, "FER2013": fer2013,
    "FGVCAircraft": fgvc_aircraft, "Flowers102": flowers102, "Food101": food101, "GTSRB": gtsrb, "MNIST": mnist,
    "OxfordIIITPet": oxford_iiit_pet, "PCAM": pcam, "RenderedSST2": rendered_sst2, "StanfordCars": stanford_cars,
    "SUN397": sun397, "SVHN": svhn,
}  # fmt: skip
"""By torchvision's name, what writes a set below a root."""
