"""Many tensors in one storage, so that one operation reaches all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers; every tensor starts at a multiple of 256 bytes, as if it were allocated by itself.
ALIGNMENT = 64


@torch.no_grad()
def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move parameters into one storage; they keep their identity, values and shapes.

    Args:
        parameters: of one type, on one device.

    Returns:
        All of them behind each other (numbers,), with zeros in the gaps of alignment.
    """
    sizes = [-(-weight.numel() // ALIGNMENT) * ALIGNMENT for weight in parameters]
    flat = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
    for weight, place in zip(parameters, flat.split(sizes), strict=True):
        view = place[: weight.numel()].view_as(weight)
        view.copy_(weight)
        weight.data = view
    return flat
