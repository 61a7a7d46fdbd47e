"""In what precision a model computes: float32, or bf16 products over float32 weights."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from ditbench.models.halved import Halved, halved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn


@contextmanager
def mixed_precision(model: nn.Module, precision: str) -> Iterator[None]:
    """Within it a model that does not change computes in `bf16` or `fp32`."""
    weights = list(model.parameters())
    device = weights[0].device.type
    with ExitStack() as stack:
        if precision == "bf16":
            stack.enter_context(torch.autocast(device, torch.bfloat16))
            if device == "cuda":
                stack.enter_context(halved(weights, torch.bfloat16))
        yield


class MixedPrecision:
    """`mixed_precision` for a model in training, whose weights change at every step.

    Args:
        weights: of the model, views of `flat`.
        flat: all of them (numbers,).
        precision: `bf16` or `fp32`.
    """

    def __init__(self, weights: Sequence[Tensor], flat: Tensor, precision: str) -> None:
        self.device = flat.device.type
        self.enabled = precision == "bf16"
        # Elsewhere than on a GPU autocast makes its own copies.
        self.halved = (
            Halved(weights, flat, torch.bfloat16)
            if self.enabled and self.device == "cuda"
            else None
        )

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it the model computes with its weights as they are at the beginning."""
        with (
            torch.autocast(self.device, torch.bfloat16, enabled=self.enabled),
            ExitStack() as stack,
        ):
            if self.halved is not None:
                stack.enter_context(self.halved.fresh())
            yield
