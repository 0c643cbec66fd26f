"""Tiny CLIPs of which every weight matters."""

import torch
from torch import nn

from tests.support.checkpoints import build


def build_awake(config: dict) -> nn.Module:
    """As `checkpoints.build`, but no residual branch is switched off by gains of zero."""
    model = build(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(0.5)
    return model
