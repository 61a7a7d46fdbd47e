"""What the trainings of the shipped classifiers share: how they start, and the learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

Net = TypeVar("Net", bound=nn.Module)


def initialised(make: Callable[[], Net], generator: torch.Generator) -> Net:
    """A network on the CPU with He's normal weights, and biases of 0.

    Args:
        make: makes the network; called on the meta device.
        generator: of the weights; torch's global stream is not drawn from.
    """
    with torch.device("meta"):  # nn's own initialisation draws from the global stream
        net = make()
    net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # constants
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def warm_cosine(progress: float) -> float:
    """The learning rate's factor at a share of the training: up over a tenth, then down to 0."""
    if progress < 0.1:
        return progress / 0.1 + 1e-3
    return 0.5 + 0.5 * math.cos(math.pi * (progress - 0.1) / 0.9)
