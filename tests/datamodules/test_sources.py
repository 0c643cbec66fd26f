import numpy as np
import pytest

from datamodules.sources import AlreadyLossy, ArraySource


class TestArraySource:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)

    def test_gives_its_pixels_and_labels(self):
        source = ArraySource(self.images, [1, 0], ["cat", "dog"])
        assert len(source) == 2
        assert (source.classes, source.labelled, source.path(0), source.already_lossy()) == (
            ("cat", "dog"),
            True,
            None,
            AlreadyLossy(),
        )
        for index in range(2):
            np.testing.assert_array_equal(np.asarray(source.load(index)), self.images[index])
            assert source.label(index) == [1, 0][index]

    @pytest.mark.parametrize(
        ("images", "labels", "complaint"),
        [
            (images, [0], "2 images have 1 labels"),
            (images, [0, 2], "labels lie outside 0 to 1"),
            (images, [0, -1], "labels lie outside 0 to 1"),
            (images.astype(np.float32), [0, 1], "images are float32"),
            (images[..., 0], [0, 1], r"images are uint8 \[2, 4, 5\]"),
        ],
    )
    def test_refuses_arrays_that_do_not_fit_each_other(self, images, labels, complaint):
        with pytest.raises(ValueError, match=complaint):
            ArraySource(images, labels, ["cat", "dog"])
