"""The experiment of Chen, Namboodiri and Padget (2023), arXiv 2311.14029: encoders, weights, views and prompt.

What the paper prints is among the published figures, in `bench.references`. Its precision is micro-averaged, that is
top-1 accuracy: Figure 6 has nothing but multiples of 1/5000.
"""

from datamodules.degradations import DEFAULT_DEGRADATIONS

OPENAI_ENCODERS = (
    "RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px"
)  # fmt: skip
"""The paper's encoders as OpenAI writes their names."""

VIEWS = DEFAULT_DEGRADATIONS
TEMPLATE = "This is an image of a {}."
PRETRAINED = "openai"


def canonical_encoder(name: str) -> str:
    """An encoder's name in one spelling, the one of `ENCODERS`.

    >>> canonical_encoder("ViT-L/14@336px"), canonical_encoder("ViT-B-32-quickgelu")
    ('ViT-L-14-336', 'ViT-B-32')
    """
    return name.replace("/", "-").replace("@", "-").removesuffix("px").removesuffix("-quickgelu")


ENCODERS = tuple(canonical_encoder(name) for name in OPENAI_ENCODERS)
"""The paper's encoders as open_clip writes their names."""
