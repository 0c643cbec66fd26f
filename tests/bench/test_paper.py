"""The names of the paper's encoders."""

import pytest

from bench.paper import ENCODERS, canonical_encoder


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("RN50", "RN50"),
        ("RN50x4-quickgelu", "RN50x4"),
        ("ViT-B/32", "ViT-B-32"),
        ("ViT-L-14-quickgelu", "ViT-L-14"),
        ("ViT-L/14@336px", "ViT-L-14-336"),
        ("ViT-L-14-336-quickgelu", "ViT-L-14-336"),
    ],
)
def test_every_spelling_of_an_encoder_is_one_name(spelling, name):
    assert canonical_encoder(spelling) == name
    assert name in ENCODERS
