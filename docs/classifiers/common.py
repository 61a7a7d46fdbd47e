"""What both trainings share: initial weights, the learning rate, and the file that is written."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, TypeVar

import safetensors.torch
import torch
from torch import nn

from ditbench.files import write_atomically
from ditbench.metrics.features.classifiers import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

Net = TypeVar("Net", bound=nn.Module)


def initialised(make: Callable[[], Net], generator: torch.Generator) -> Net:
    """A network on the CPU with He's normal weights and zero biases.

    Args:
        make: makes the network; called on the meta device.
        generator: draws the weights, instead of torch's global stream.
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
    """The factor of the learning rate: up over the first tenth of the training, then a cosine."""
    if progress < 0.1:
        return progress / 0.1 + 1e-3
    return 0.5 + 0.5 * math.cos(math.pi * (progress - 0.1) / 0.9)


def write_weights(path: Path, tensors: Mapping[str, Tensor], details: Mapping[str, str]) -> None:
    """Write a classifier's file: the same bytes for the same tensors and details."""
    # One entry of metadata: safetensors writes several in an order that changes between runs.
    data = safetensors.torch.save(dict(tensors), {METADATA: json.dumps(details)})
    write_atomically(path, lambda file: file.write(data))
