"""The precision of a model's computations: float32, or bf16 products over float32 weights."""

from __future__ import annotations

import torch


def mixed_precision(device: torch.device, precision: str) -> torch.autocast:
    """A context in which a model computes in `bf16` or `fp32`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
