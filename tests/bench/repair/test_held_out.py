import pytest

from bench.repair.held_out import held_out
from datamodules import CIFAR10, ImageFolder, Synthetic
from datamodules.errors import UserError


def positions_of_test(data, options):
    """Positions of the train split that a test with these options goes through."""
    test = type(data)(data.root, num_workers=0, **options)
    test.setup("test")
    return set(test.positions)


def test_where_there_is_a_test_split_it_is_tested(folder):
    data = ImageFolder(folder(train__cat=9, train__dog=11, test__cat=2, test__dog=2), num_workers=0)
    found = held_out(data)
    assert (found.options, found.fitted) == ({"split": "test"}, 18)
    assert found.sentence == "fitted to 18 images of the train split of image_folder, tested on its test split"


def test_a_split_by_another_name_is_tested_where_there_is_none_called_test(folder):
    data = ImageFolder(folder(train__cat=9, train__dog=11, val__cat=2, val__dog=2), num_workers=0)
    assert held_out(data).options == {"split": "val"}


@pytest.mark.parametrize("choice", [{}, {"limit": 15}, {"every": 2, "limit": 7}, {"indices": [9, 3, 8, 1, 7, 5]}])
@pytest.mark.parametrize("split", ["", "train__"])
def test_of_one_split_the_images_are_tested_that_fits_hold_out(folder, choice, split):
    root = folder(**{f"{split}cat": 12, f"{split}dog": 9})
    data = ImageFolder(root, num_workers=0, validation_every=3, **choice)
    found = held_out(data)
    fit = ImageFolder(root, num_workers=0, validation_every=3, **choice)
    fit.setup("fit")
    assert positions_of_test(data, found.options) == set(fit.validation_positions)
    assert not positions_of_test(data, found.options) & set(fit.training_positions)
    assert found.fitted == len(fit.training_positions)
    assert "one image in 3" in found.sentence


def test_to_test_the_train_split_is_to_test_what_is_held_out_of_it():
    assert held_out(Synthetic(split="train", validation_every=10)).options == {
        "split": "train", "every": 10, "limit": None
    }  # fmt: skip


def test_nothing_is_downloaded_to_tell(tmp_path):
    found = held_out(CIFAR10(tmp_path / "data", download=True))
    assert (found.options, found.fitted) == ({}, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("counts", "names", "message"),
    [
        ({"test__cat": 2, "test__dog": 2}, None, "has no folder 'train', only test"),
        ({"": 3}, ["cat", "dog"], "the images have no labels"),
    ],
)
def test_what_cannot_be_repaired_is_said_in_a_line(folder, counts, names, message):
    with pytest.raises(UserError, match=message):
        held_out(ImageFolder(folder(**counts), names, num_workers=0))
