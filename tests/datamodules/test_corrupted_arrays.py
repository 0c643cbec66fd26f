import numpy as np
import pytest

from datamodules import CIFAR10, STL10
from datamodules.degradations import curves, parse, parse_all
from datamodules.errors import UserError
from tests.support.archives import write_cifar10, write_cifar10c, write_stl10

VIEWS = ["published-gaussian-noise-{1,5}", "published-fog-3", "jpeg-50"]
NAMES = ["original", "published-gaussian-noise-1", "published-gaussian-noise-5", "published-fog-3", "jpeg-50"]


@pytest.fixture
def root(tmp_path):
    """Clean images, and arrays in the format of CIFAR-10-C: five severities one after the other."""
    write_cifar10(tmp_path, count=4)
    write_cifar10c(tmp_path)
    return tmp_path


def opened(root, views=VIEWS, folder="CIFAR-10-C", **options):
    options = {"num_workers": 0, "batch_size": 3, "verify_checksums": False, **options}
    data = CIFAR10(root, degradations=views, corrupted=folder and root / folder, **options)
    data.setup("test")
    return data


def refusal(*given, **options):
    with pytest.raises(UserError) as caught:
        opened(*given, **options)
    assert "\n" not in str(caught.value)
    return caught.value.on_command_line()


@pytest.mark.parametrize("workers", [0, 1])
def test_views_are_the_arrays_rows_of_severity_and_image(root, workers):
    data = opened(root, num_workers=workers, indices=[3, 1])
    assert data.views == tuple(NAMES)
    [batch] = data.test_dataloader()
    arrays = {name: np.load(root / f"CIFAR-10-C/{name}.npy") for name in ("gaussian_noise", "fog")}
    for view, corruption, severity in [
        (NAMES[1], "gaussian_noise", 1), (NAMES[2], "gaussian_noise", 5), (NAMES[3], "fog", 3),
    ]:  # fmt: skip
        expected = arrays[corruption].reshape(5, 4, 32, 32, 3)[severity - 1, batch.indices.tolist()]
        np.testing.assert_array_equal(batch.views[view].permute(0, 2, 3, 1), expected)
    assert sorted(batch.indices.tolist()) == [1, 3]
    assert batch.encoded_bytes["jpeg-50"].min() > 0
    assert batch.encoded_bytes["published-fog-3"].max() < 0
    (again,) = data.views_of([2], ["published-fog-3"]).samples()
    np.testing.assert_array_equal(again.pixels["published-fog-3"].transpose(1, 2, 0), arrays["fog"][2 * 4 + 2])


def test_severities_are_one_curve():
    views = [view.name for view in parse_all(["published-jpeg-compression-{1..5}"])]
    assert curves(views)["published-jpeg-compression"] == [
        (severity, f"published-jpeg-compression-{severity}") for severity in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("published-fgo-1", "no corruption 'fgo' was published: did you mean published-fog-1?"),
        ("published-fog-6", "severity 6 is out of range, choose 1 to 5"),
        ("published-fog", "is malformed: write published-CORRUPTION-SEVERITY"),
        ("published-zz-1", "choose one of gaussian-noise, "),
    ],
)
def test_a_view_that_was_not_published_is_one_line(spec, message):
    with pytest.raises(UserError) as caught:
        parse(spec)
    assert message in str(caught.value)


def test_arrays_that_are_missing_or_of_other_images_are_one_line(root):
    folder = root / "CIFAR-10-C"
    (folder / "snow.npy").unlink()
    assert "snow.npy' is missing: name the folder of CIFAR-10-C" in refusal(root, ["published-snow-1"])
    assert "name the folder of CIFAR-10-C with --data.corrupted" in refusal(root, folder=None)
    assert "are of the test images, and here train images are taken" in refusal(root, split="train")
    np.save(folder / "fog.npy", np.zeros((19, 32, 32, 3), np.uint8))
    assert "holds [19, 32, 32, 3], not [20, 32, 32, 3], 5 severities of the clean images" in refusal(root)
    np.save(folder / "fog.npy", np.zeros((20, 32, 32, 3)))
    assert "holds float64, not uint8" in refusal(root)
    for content in (b"", b"\x93NUMPY", b"no array"):
        (folder / "fog.npy").write_bytes(content)
        assert "holds no array (" in refusal(root)
    np.save(folder / "fog.npy", np.array([{"run": "code"}], dtype=object), allow_pickle=True)
    assert "holds no array (ValueError: " in refusal(root)
    np.save(folder / "labels.npy", np.zeros(20, np.uint8) + 11)
    assert "labels.npy has other labels than the clean images" in refusal(root)


def test_another_data_set_says_that_it_has_no_such_views(tmp_path):
    write_stl10(tmp_path)
    data = STL10(tmp_path, verify_checksums=False, degradations=["published-fog-1"], num_workers=0, on_error="skip")
    with pytest.raises(UserError) as caught:
        data.setup("test")
    assert str(caught.value) == (
        "view 'published-fog-1' is published for CIFAR-10 and CIFAR-100 only: take one of these with `corrupted`, or "
        "leave the view out"
    )


def test_other_arrays_are_other_data(root):
    first, same = (opened(root).describe() for _ in range(2))
    file = root / "CIFAR-10-C/fog.npy"
    np.save(file, 255 - np.load(file))
    assert first == same != opened(root).describe()
    assert "views_content" not in opened(root, ["jpeg-50"], folder=None).describe()
