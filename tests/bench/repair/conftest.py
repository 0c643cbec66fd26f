"""Folders of images."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """Makes folders of images, `<split>/<class>/<number>.png`, of as many images as asked for by path."""

    def make(**counts):
        for path, count in counts.items():
            place = tmp_path / "photos" / path.replace("__", "/")
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(place / f"{len(path)}{number:03}.png")
        return tmp_path / "photos"

    return make
