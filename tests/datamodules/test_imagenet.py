import pytest
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from torchvision import datasets

from datamodules import ImageNet
from datamodules.errors import UserError
from datamodules.imagenet import class_names
from tests.support.data_sets import save


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A photograph of each class, in torchvision's layout."""
    folder = tmp_path_factory.mktemp("imagenet")
    save(folder / "val/n01440764/ILSVRC2012_val_00000000.JPEG", 0)
    content = (folder / "val/n01440764/ILSVRC2012_val_00000000.JPEG").read_bytes()
    for number, wnid in enumerate(class_names()):
        (folder / "val" / wnid).mkdir(exist_ok=True)
        (folder / "val" / wnid / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(content)
    return folder


def refusal(root, **options):
    with pytest.raises(UserError) as caught:
        ImageNet(root, **options).setup("test")
    assert "\n" not in str(caught.value)
    return caught.value.on_command_line()


def test_labels_names_and_prompts_are_open_clips_but_for_two_that_occur_twice_there(root, caplog):
    data = ImageNet(root, num_workers=0)
    data.setup("test")
    oracle = datasets.ImageFolder(root / "val")
    assert [data.chosen.label(index) for index in range(1000)] == oracle.targets
    assert [data.chosen.path(index) for index in (0, 999)] == [
        path.removeprefix(f"{root}/val/") for path, _ in (oracle.samples[0], oracle.samples[999])
    ]
    changed = {i: name for i, name in enumerate(data.class_names) if name != IMAGENET_CLASSNAMES[i]}
    assert changed == {744: "projectile", 837: "dark glasses"}
    assert [IMAGENET_CLASSNAMES.count(IMAGENET_CLASSNAMES[index]) for index in changed] == [2, 2]
    assert data.templates == tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
    said = data.describe()
    assert (said["name"], said["split"], tuple(said["class_names"])) == ("imagenet", "val", data.class_names)
    assert "1000 of 1000 source images are already compressed (JPEG" in caplog.text


def test_archives_are_unpacked_by_torchvision(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "ImageNet", lambda root, split: asked.append((root, split)))
    ImageNet(tmp_path, download=True).prepare_data()
    ImageNet(tmp_path, download=True, split="train").prepare_data()
    ImageNet(tmp_path).prepare_data()
    assert asked == [(tmp_path, "val"), (tmp_path, "train")]


def test_archives_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot be unpacked .*devkit.*: put ILSVRC2012_devkit_t12.tar.gz") as caught:
        ImageNet(tmp_path, download=True).prepare_data()
    assert "\n" not in str(caught.value)


def test_folders_that_are_missing_or_none_of_the_classes_are_named(root, tmp_path):
    assert "holds 0 class folders, 'n01440764' is missing: name the folder" in refusal(tmp_path)
    (root / "val/kept").mkdir()
    assert "holds 1001 class folders, 'kept' is none of the thousand" in refusal(root)
    (root / "val/kept").rmdir()
    (root / "val/n01443537").rename(root / "n01443537")
    assert "holds 999 class folders, 'n01443537' is missing" in refusal(root)
    (root / "n01443537").rename(root / "val/n01443537")
