"""In-context conditioning by several tokens of the time and of the class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ditbench.models.blocks.base import Conditioning, Spec
from ditbench.models.blocks.plain import PlainBlock
from ditbench.models.extras import embedding
from ditbench.models.init import unit_rows
from ditbench.models.sizes import ModelSize


class ConditionTokens(nn.Module):
    """The embeddings of time and class, each repeated, plus a learned position of each copy."""

    def __init__(self, times: int, classes: int, hidden_size: int) -> None:
        super().__init__()
        self.time_positions = embedding(times, hidden_size)
        self.class_positions = embedding(classes, hidden_size)

    def forward(self, c: Conditioning) -> Tensor:
        times = c.t.unsqueeze(1) + self.time_positions.weight  # (N, J, D)
        classes = c.c.unsqueeze(1) + self.class_positions.weight  # (N, K, D)
        return torch.cat([times, classes], dim=1)


class InContextMultiBlock(PlainBlock):
    """`InContextBlock` with several tokens of each condition.

    Geng et al. 2025 (improved MeanFlow), in-context conditioning: K = `options.class_tokens` tokens
    of the class, J = `options.time_tokens` of the time, by default the paper's. Positions start as
    N(0, 1/D), as in the released code.
    """

    summary = "several tokens of t and of the class in the sequence"
    formula = "[x; t + q₁; ...; t + q_J; c + p₁; ...; c + p_K] → x + Attn(LN x) → x + MLP(LN x)"
    source = "Geng et al. 2025 (improved MeanFlow), arXiv 2512.02012"
    own_tokens = "several of t and of the class"
    initial = (("shared.*_positions.*", unit_rows),)

    @classmethod
    def options(cls, size: ModelSize) -> dict[str, int]:  # noqa: ARG003
        return {"class_tokens": 8, "time_tokens": 4}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        times, classes = spec.options["time_tokens"], spec.options["class_tokens"]
        return ConditionTokens(times, classes, spec.hidden_size)

    @classmethod
    def append_tokens(cls, x: Tensor, c: Tensor) -> Tensor:
        return torch.cat([x, c.type_as(x)], dim=1)  # (N, T, D) -> (N, T + J + K, D)
