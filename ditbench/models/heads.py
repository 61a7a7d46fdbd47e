"""Queries, keys and values of attention heads, normalised where the model is switched to it.

Legend of shapes: N batch, T tokens, D hidden size, h heads, d = D / h.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ditbench.models.ops import NORM_EPS, Linear


class HeadNorm(nn.RMSNorm):
    """RMS norm of what each head has of a token, by one gain (d,) for all heads, 1 at the start."""

    def __init__(self, head_size: int) -> None:
        super().__init__(head_size, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the heads of x (N, T, D), side by side; computed in the gain's type."""
        heads = x.unflatten(-1, (-1, self.weight.shape[0])).type_as(self.weight)
        return super().forward(heads).flatten(-2).type_as(x)


class Heads(Linear):
    """The linear layer that makes queries, keys and values: (N, T, D) -> (N, T, 3 D), side by side.

    Once `normalise` is called it divides the queries and keys of every head by their root mean
    square and multiplies them by a learned gain: scores can then not grow with the weights, which
    made large models diverge. Dehghani et al. 2023 (ViT-22B), arXiv 2302.05442, section 2.1, do so
    by layer norms, Esser et al. 2024 (Stable Diffusion 3), arXiv 2403.03206, section 5.3, by RMS
    norms. Choices made here: RMS norms as in the latter; one gain for queries and one for keys, of
    d numbers each that all heads of a layer share; scores are divided by √d as before.

    Args:
        hidden_size: D.
        num_heads: h, a divisor of D.
        queries: whether they are among them; without, the outputs are keys and values, (N, T, 2 D).
    """

    def __init__(self, hidden_size: int, num_heads: int, *, queries: bool = True) -> None:
        super().__init__(hidden_size, (3 if queries else 2) * hidden_size)
        self.head_size = hidden_size // num_heads
        self.has_queries = queries
        self.q_norm: HeadNorm | None = None
        self.k_norm: HeadNorm | None = None

    def normalise(self) -> None:
        """Normalise queries and keys from now on."""
        if self.has_queries:
            self.q_norm = HeadNorm(self.head_size)
        self.k_norm = HeadNorm(self.head_size)

    def forward(self, x: Tensor) -> Tensor:
        """Make (N, T, 3 D), or (N, T, 2 D) without queries, of x (N, T, D)."""
        heads = super().forward(x)
        if self.k_norm is None:
            return heads
        *q, k, v = heads.split(self.in_features, dim=-1)
        return torch.cat([*map(self.normal_queries, q), self.k_norm(k), v], dim=-1)

    def normal_queries(self, q: Tensor) -> Tensor:
        """The queries (N, T, D), normalised where they are to be."""
        return q if self.q_norm is None else self.q_norm(q)

    def normal_keys(self, kv: Tensor) -> Tensor:
        """Keys and values (N, T, 2 D), the keys normalised where they are to be."""
        if self.k_norm is None:
            return kv
        k, v = kv.chunk(2, dim=-1)
        return torch.cat([self.k_norm(k), v], dim=-1)
