"""Toy images and classifiers whose attributions are known or quick to converge."""

import torch
from torch import nn

from bench.attribution.adaptive import Adaptive
from bench.attribution.quadrature import GaussLegendre, Midpoint, RightRiemann, Trapezoid

RULES = [Trapezoid(12), Midpoint(12), GaussLegendre(6), RightRiemann(12), Adaptive()]


def images(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def labels(count):
    return torch.arange(count) % 3


class Classifier(nn.Module):
    """A small classifier of 4 x 4 images, smooth or with kinks."""

    def __init__(self, activation, width=16, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Linear(48, width)
        self.last = nn.Linear(width, 3)
        self.activation = activation
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.to(dtype)

    def forward(self, pixels):
        return self.last(self.activation(self.first(pixels.flatten(1))))


def relative_error(found, truth):
    return ((found - truth).flatten(1).abs().sum(1) / truth.flatten(1).abs().sum(1)).double()
