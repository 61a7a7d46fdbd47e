"""In-context conditioning by several tokens of the time and of the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.models.blocks.base import Conditioning, Spec
from ditbench.models.blocks.plain import PlainBlock
from ditbench.models.extras import embedding
from ditbench.models.init import unit_rows

if TYPE_CHECKING:
    from ditbench.models.sizes import ModelSize


class ConditionTokens(nn.Module):
    """The embeddings of time and class, each repeated, plus a learned position of each copy."""

    def __init__(self, times: int, classes: int, hidden_size: int) -> None:
        super().__init__()
        self.time_positions = embedding(times, hidden_size)
        self.class_positions = embedding(classes, hidden_size)

    def forward(self, c: Conditioning) -> Tensor:
        """The tokens of the time, then those of the class: (N, times + classes, D)."""
        times = c.t.unsqueeze(1) + self.time_positions.weight
        return torch.cat([times, c.c.unsqueeze(1) + self.class_positions.weight], dim=1)


class InContextMultiBlock(PlainBlock):
    """`InContextBlock` with several tokens of each condition.

    Geng et al. 2025 (improved MeanFlow), in-context conditioning: 8 tokens of the class, 4 of the
    time, which are the defaults of `options.class_tokens` and `options.time_tokens`. Positions
    start as N(0, 1/D), as in the released code. The paper's other conditions (the guidance scale
    and its interval, which have 8 more tokens) belong to its objective and are left out. So are
    its other changes to the block: RMS norms, SwiGLU, rotary positions and a learned gate of each
    branch, zero at the start, which reads no condition. Here the tokens follow the image's.
    """

    summary = "several tokens of t and of the class in the sequence"
    formula = "[x; t + q₁; ...; t + q_J; c + p₁; ...; c + p_K] → x + Attn(LN x) → x + MLP(LN x)"
    source = "Geng et al. 2025 (improved MeanFlow), arXiv 2512.02012"
    own_tokens = "several of t and of the class"
    initial = (("shared.*_positions.*", unit_rows),)

    @classmethod
    def options(cls, size: ModelSize) -> Mapping[str, int]:  # noqa: ARG003
        """The numbers of tokens: K of the class, J of the time."""
        return {"class_tokens": 8, "time_tokens": 4}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        """The tokens."""
        times, classes = spec.options["time_tokens"], spec.options["class_tokens"]
        return ConditionTokens(times, classes, spec.hidden_size)

    @classmethod
    def append_tokens(cls, x: Tensor, c: Tensor) -> Tensor:
        """Append the J + K tokens c to the image tokens x (N, T, D)."""
        return torch.cat([x, c.type_as(x)], dim=1)
