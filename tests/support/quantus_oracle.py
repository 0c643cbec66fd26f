"""What Quantus 0.6.0 says of a small network: `pip install quantus && python -m tests.support.quantus_oracle`.

Quantus brings OpenCV, so its values are kept here rather than made by each run of the tests.
"""

import torch
from torch import nn


def pixels() -> torch.Tensor:
    """Two images, float32 [2, 1, 4, 4]."""
    return torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def attributions() -> torch.Tensor:
    """A map for each, float32 [2, 1, 4, 4]."""
    return torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(2))


def others() -> torch.Tensor:
    """Other maps with ties, float32 [2, 1, 4, 4]."""
    return (3 * attributions() + torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(3))).round()


def network() -> nn.Module:
    """A network of two layers, from 16 pixels to 3 logits."""
    generator = torch.Generator().manual_seed(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


FLIPPED = [
    [
        4.20611,
        5.874747,
        4.972433,
        3.399384,
        4.059693,
        2.074206,
        2.707757,
        1.487328,
        0.132304,
        1.53291,
        -0.959032,
        -0.109073,
        0.102989,
        -0.820095,
        -0.794538,
        0.092776,
    ],
    [
        5.83669,
        3.172919,
        5.928945,
        5.833876,
        5.893318,
        5.760227,
        4.615885,
        2.621723,
        2.655977,
        0.617806,
        0.985925,
        0.620632,
        -1.264722,
        -3.31793,
        -0.200381,
        0.092776,
    ],
]
"""Logit of class 0 after 1 to 16 pixels are black, those of the largest attribution first (`PixelFlipping`)."""

SPEARMAN = [0.91881, 0.874577]
"""Rank correlation of `attributions` and `others` (`correlation_spearman`)."""


def main() -> None:
    """Print the values again."""
    import quantus

    flip = quantus.PixelFlipping(
        features_in_step=1, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True
    )
    curves = flip(
        network(), pixels().numpy(), torch.zeros(2, dtype=torch.int64).numpy(), a_batch=attributions().numpy(),
        softmax=False, device="cpu",
    )  # fmt: skip
    print([[round(float(value), 6) for value in curve] for curve in curves])
    maps = [values.flatten(1).numpy() for values in (attributions(), others())]
    print([round(float(value), 6) for value in quantus.correlation_spearman(*maps, batched=True)])


if __name__ == "__main__":
    main()
