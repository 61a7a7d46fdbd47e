"""The precision of a model's computations: float32, or bf16 products over float32 weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def mixed_precision(device: torch.device, precision: str) -> torch.autocast:
    """A context in which a model computes in a precision other than `auto`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision != "fp32")


def residual_type(precision: str) -> torch.dtype | None:
    """The type of the tokens between blocks; None where it is that of the weights."""
    return torch.bfloat16 if precision == "bf16-residual" else None


@contextmanager
def bf16_weights(model: nn.Module) -> Iterator[None]:
    """A context in which linear layers hold bf16 weights, so that no pass converts them."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = [weight for module in linear for weight in module.parameters(recurse=False)]
    kept = [weight.data for weight in weights]
    for weight in weights:
        weight.data = weight.data.bfloat16()
    try:
        yield
    finally:
        for weight, data in zip(weights, kept, strict=True):
            weight.data = data
