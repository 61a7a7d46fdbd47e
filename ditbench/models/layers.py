"""The layers that all blocks share.

Legend of shapes: N batch, T tokens, S context tokens, D hidden size, h heads, C channels, H x W
image, P patch size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ditbench.models.extras import HeadNorm, embedding
from ditbench.models.ops import PLAIN, NormKind, Ops
from ditbench.models.sincos import FEATURES, timestep_features


@dataclass(frozen=True)
class Spec:
    """What the modules of a block are built from."""

    hidden_size: int  # D
    num_heads: int  # h, a divisor of D
    mlp_ratio: float  # inner width of the MLP over D
    depth: int  # number of blocks of the model
    options: Mapping[str, int] = field(default_factory=dict)  # see `Block.options`
    qk_norm: bool = False  # see `QKV`
    norm: NormKind = "layer"  # or `rms` (Zhang & Sennrich 2019, arXiv 1910.07467, section 4)
    ops: Ops = PLAIN  # the implementation of the operations


class Linear(nn.Linear):
    """`nn.Linear`, computed by `ops.linear`: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, outputs: int, ops: Ops = PLAIN) -> None:
        super().__init__(inputs, outputs)
        self.ops = ops

    def forward(self, x: Tensor) -> Tensor:
        return self.ops.linear(x, self.weight, self.bias)


class QKV(Linear):
    """Queries, keys and values by one matrix: (N, T, D) -> (N, T, 3 D).

    With `spec.qk_norm` the queries and keys of each head are RMS-normalised, so that scores cannot
    grow with the weights (Dehghani et al. 2023, arXiv 2302.05442, section 2.1; RMS norms as in
    Esser et al. 2024, arXiv 2403.03206, section 5.3). One gain for queries and one for keys.
    Without `queries` the output is keys and values, (N, T, 2 D).
    """

    def __init__(self, spec: Spec, *, queries: bool = True) -> None:
        super().__init__(spec.hidden_size, (3 if queries else 2) * spec.hidden_size, spec.ops)
        head_size = spec.hidden_size // spec.num_heads
        self.q_norm = HeadNorm(head_size) if spec.qk_norm and queries else None
        self.k_norm = HeadNorm(head_size) if spec.qk_norm else None

    def forward(self, x: Tensor) -> Tensor:
        return self.normalise(super().forward(x))

    def normalise(self, parts: Tensor) -> Tensor:
        """Normalise the output of the matrix, whose last 2 D columns are keys and values."""
        if self.k_norm is None:
            return parts
        *q, k, v = parts.split(self.in_features, dim=-1)
        q = [each if self.q_norm is None else self.q_norm(each) for each in q]
        return torch.cat([*q, self.k_norm(k), v], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention: (N, T, D) -> (N, T, D)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = QKV(spec)
        self.proj = Linear(spec.hidden_size, spec.hidden_size, spec.ops)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.spec.ops.attention(self.qkv(x), self.spec.num_heads))


class CrossAttention(Attention):
    """Multi-head attention of x (N, T, D) to a context (N, S, D).

    One matrix holds q, k and v, because Xavier's bound depends on its shape: separate ones would
    start with larger weights.
    """

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        D, ops = x.shape[-1], self.spec.ops
        weights, biases = self.qkv.weight.split([D, 2 * D]), self.qkv.bias.split([D, 2 * D])
        q = ops.linear(x, weights[0], biases[0])
        if self.qkv.q_norm is not None:
            q = self.qkv.q_norm(q)
        kv = self.qkv.normalise(ops.linear(context, weights[1], biases[1]))
        return self.proj(ops.cross_attention(q, kv, self.spec.num_heads))


class Mlp(nn.Module):
    """Two linear layers with a tanh-approximated GELU between them: (N, T, D) -> (N, T, D)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        inner = int(spec.hidden_size * spec.mlp_ratio)
        self.fc1 = Linear(spec.hidden_size, inner, spec.ops)
        self.fc2 = Linear(inner, spec.hidden_size, spec.ops)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1.ops.linear_gelu(x, self.fc1.weight, self.fc1.bias))


class Modulation(nn.Sequential):
    """`count` vectors (N, 1, D) of the conditioning (N, D): SiLU, then Linear (section 3.2)."""

    def __init__(self, spec: Spec, count: int) -> None:
        super().__init__(nn.SiLU(), Linear(spec.hidden_size, count * spec.hidden_size, spec.ops))
        self.count = count

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        return self[1](self[0](vector)).unsqueeze(1).chunk(self.count, dim=-1)


class PatchEmbedder(nn.Module):
    """Cut (N, C, H, W) into P x P patches and project each to a token, in reading order: (N, T, D).

    The weight is a convolution's (D, C, P, P), as in published checkpoints. Stride and kernel size
    are equal, so one matrix product over flattened patches computes it.
    """

    def __init__(self, spec: Spec, patch_size: int, channels: int) -> None:
        super().__init__()
        self.ops = spec.ops
        self.patch_size = patch_size
        self.proj = nn.Conv2d(channels, spec.hidden_size, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        N, C, H, W = x.shape
        P = self.patch_size
        patches = x.view(N, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
        tokens = patches.reshape(N, (H // P) * (W // P), C * P * P)
        return self.ops.linear(tokens, self.proj.weight.flatten(1), self.proj.bias)


class TimestepEmbedder(nn.Module):
    """256 sinusoidal features of the timestep, then Linear, SiLU, Linear: (N,) -> (N, D).

    Timesteps are on the scale 0..999, whole or not.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        D = spec.hidden_size
        self.mlp = nn.Sequential(Linear(FEATURES, D, spec.ops), nn.SiLU(), Linear(D, D, spec.ops))

    def forward(self, t: Tensor) -> Tensor:
        weight = cast("Tensor", self.mlp[0].weight)
        return self.mlp(timestep_features(t).type_as(weight))


class LabelEmbedder(nn.Module):
    """A table with one embedding per class and a last one for the null class: (N,) -> (N, D)."""

    def __init__(self, spec: Spec, num_classes: int) -> None:
        super().__init__()
        self.embedding_table = embedding(num_classes + 1, spec.hidden_size)

    def forward(self, y: Tensor) -> Tensor:
        return self.embedding_table(y)


class FinalLayer(nn.Module):
    """A norm, which the conditioning may shift and scale, and a Linear from token to patch.

    x (N, T, D) and the conditioning (N, D) or None -> (N, T, P * P * C).
    """

    def __init__(self, spec: Spec, outputs: int, *, adaptive: bool) -> None:
        super().__init__()
        self.spec = spec
        self.linear = Linear(spec.hidden_size, outputs, spec.ops)
        self.adaLN_modulation = Modulation(spec, 2) if adaptive else None

    def forward(self, x: Tensor, vector: Tensor | None) -> Tensor:
        shift, scale = self.adaLN_modulation(vector) if self.adaLN_modulation else (None, None)
        return self.linear(self.spec.ops.norm(x, shift, scale, self.spec.norm))
