"""Long skip connections from shallow blocks to deep ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ditbench.models.layers import Linear, Spec


def skips(depth: int) -> int:
    """How many of the first blocks pass their tokens on to as many of the last."""
    return (depth - 1) // 2


class SkipLinear(Linear):
    """Joins x with the output of a shallow block: W [x; earlier] + b, or W norm([x; earlier]) + b
    where it is `normed`.
    """

    def __init__(self, spec: Spec, *, normed: bool = False) -> None:
        super().__init__(2 * spec.hidden_size, spec.hidden_size, spec.ops)
        self.norm_kind = spec.norm if normed else None

    def forward(self, x: Tensor, earlier: Tensor) -> Tensor:  # type: ignore[override]
        both = torch.cat([x, earlier], dim=-1)  # (N, T, 2 D)
        if self.norm_kind is not None:
            both = self.ops.norm(both, kind=self.norm_kind)
        # In x's type: the residual stream keeps its own under mixed precision.
        return super().forward(both).type_as(x)


def skip_linear(spec: Spec, index: int, *, normed: bool = False) -> SkipLinear | None:
    """The `SkipLinear` of block `index`, None where it receives no skip."""
    receives = index >= spec.depth - skips(spec.depth)
    return SkipLinear(spec, normed=normed) if receives else None


def run_with_skips(blocks: nn.ModuleList, x: Tensor, c: Any) -> Tensor:
    """Pass the tokens x (N, T, D) through blocks that have a `skip_linear`.

    The output of block i of L goes to block L - 1 - i; there are ⌊(L - 1) / 2⌋ such pairs.
    """
    kept: list[Tensor] = []
    block: Any
    for index, block in enumerate(blocks):
        if block.skip_linear is not None:
            x = block.skip_linear(x, kept.pop())
        x = block(x, c)
        if index < skips(len(blocks)):
            kept.append(x)
    return x
