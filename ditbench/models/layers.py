"""Layers that every conditioning strategy shares.

Legend of shapes: N batch, T tokens, D hidden size, C channels, H x W image, P patch size.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ditbench.models.heads import Heads
from ditbench.models.ops import (
    Linear,
    cross_attention,
    linear,
    linear_gelu,
    linears,
    norm,
    self_attention,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.switches import NormKind

FREQUENCIES = 256


class Attention(nn.Module):
    """Multi-head self-attention over x (N, T, D)."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Heads(hidden_size, num_heads)
        self.proj = Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens of x (N, T, D)."""
        return self.proj(self_attention(self.qkv(x), self.num_heads))


class CrossAttention(nn.Module):
    """Multi-head attention of x (N, T, D) over a context (N, S, D).

    One matrix holds q, k and v, as in `Attention`: Xavier's bound depends on the shape of what is
    drawn, so that separate matrices would start wider here than there.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Heads(hidden_size, num_heads)
        self.proj = Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, kv: Tensor) -> Tensor:
        """Let every token of x (N, T, D) read from keys and values (N, S, 2 D)."""
        q = linears(x, [self.qkv.weight], [self.qkv.bias], slice(x.shape[-1]))
        return self.proj(cross_attention(self.qkv.normal_queries(q), kv, self.num_heads))

    @staticmethod
    def keys_and_values(layers: Sequence[CrossAttention], context: Tensor) -> tuple[Tensor, ...]:
        """What each of the layers reads from a context (N, S, D): (N, S, 2 D) a layer."""
        D = context.shape[-1]
        qkv = [layer.qkv for layer in layers]
        weights, biases = [each.weight for each in qkv], [each.bias for each in qkv]
        read = linears(context, weights, biases, slice(D, None)).split(2 * D, dim=-1)
        return tuple(each.normal_keys(kv) for each, kv in zip(qkv, read, strict=True))


class Mlp(nn.Module):
    """Two linear layers around a tanh-approximated GELU."""

    def __init__(self, hidden_size: int, mlp_ratio: float) -> None:
        super().__init__()
        inner = int(hidden_size * mlp_ratio)
        self.fc1 = Linear(hidden_size, inner)
        self.fc2 = Linear(inner, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map each token of x (N, T, D) by itself."""
        return self.fc2(linear_gelu(x, self.fc1.weight, self.fc1.bias))


class PatchEmbedder(nn.Module):
    """Cut (N, C, H, W) into P x P patches and project each to a token: (N, T, D).

    The weight is a convolution's (D, C, P, P), as in published checkpoints; stride and kernel are
    equal, so one matrix product over flattened patches computes it.
    """

    def __init__(self, patch_size: int, channels: int, hidden_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(channels, hidden_size, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens in reading order: (N, C, H, W) -> (N, T, D)."""
        N, C, H, W = x.shape
        P = self.patch_size
        patches = x.view(N, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
        tokens = patches.reshape(N, (H // P) * (W // P), C * P * P)
        return linear(tokens, self.proj.weight.flatten(1), cast("Tensor", self.proj.bias))


class TimestepEmbedder(nn.Module):
    """256 sinusoidal features of the timestep, then Linear, SiLU, Linear: (N,) -> (N, D)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            Linear(FREQUENCIES, hidden_size), nn.SiLU(), Linear(hidden_size, hidden_size)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed timesteps t (N,) on the scale 0..999, whole or not."""
        return self.mlp(timestep_features(t))


def timestep_features(t: Tensor, dim: int = FREQUENCIES, max_period: float = 10_000) -> Tensor:
    """Cosines, then sines, of t (N,) at dim / 2 geometric frequencies: (N, dim) float32."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class LabelEmbedder(nn.Module):
    """A table of one embedding a class and a last one for the null class."""

    def __init__(self, num_classes: int, hidden_size: int) -> None:
        super().__init__()
        # Not nn.Embedding(...), which fills its weight at once, in seconds on the meta device.
        self.embedding_table = nn.Embedding.from_pretrained(
            torch.empty(num_classes + 1, hidden_size), freeze=False
        )

    def forward(self, y: Tensor) -> Tensor:
        """Embed labels y (N,) in 0..num_classes; the last is the null class: (N, D)."""
        return self.embedding_table(y)


class Registers(nn.Module):
    """Learned tokens behind the image's: a place for what belongs to no patch.

    Darcet et al. 2023, arXiv 2309.16588, section 2.2: blocks treat them as image tokens, nothing
    reads them after the last one. As there they get no position. Choices made here: they start as
    N(0, 0.02²), and stand before the tokens of a strategy's own.
    """

    def __init__(self, count: int, hidden_size: int) -> None:
        super().__init__()
        # Of no weights yet, like the label table.
        self.tokens = nn.Embedding.from_pretrained(torch.empty(count, hidden_size), freeze=False)

    def forward(self, x: Tensor) -> Tensor:
        """Append R registers to the image tokens x (N, T, D): (N, T + R, D)."""
        return torch.cat([x, self.tokens.weight.expand(len(x), -1, -1)], dim=1)


class FinalLayer(nn.Module):
    """A norm and a Linear from each token to its patch: (N, T, D) -> (N, T, P * P * C)."""

    def __init__(
        self, hidden_size: int, patch_size: int, out_channels: int, kind: NormKind = "layer"
    ) -> None:
        super().__init__()
        self.kind: NormKind = kind
        self.linear = Linear(hidden_size, patch_size * patch_size * out_channels)

    def forward(self, x: Tensor, vector: None) -> Tensor:  # noqa: ARG002 (one signature for both)
        """Project x (N, T, D); no conditioning vector is told."""
        return self.linear(norm(x, kind=self.kind))


class AdaptiveFinalLayer(nn.Module):
    """`FinalLayer` whose norm is shifted and scaled by the conditioning vector."""

    def __init__(
        self, hidden_size: int, patch_size: int, out_channels: int, kind: NormKind = "layer"
    ) -> None:
        super().__init__()
        self.kind: NormKind = kind
        self.linear = Linear(hidden_size, patch_size * patch_size * out_channels)
        self.adaLN_modulation = modulation(hidden_size, 2)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Project x (N, T, D), modulated by the conditioning vector (N, D)."""
        shift, scale = self.adaLN_modulation(vector).unsqueeze(1).chunk(2, dim=-1)
        return self.linear(norm(x, shift, scale, kind=self.kind))


def modulation(hidden_size: int, vectors: int) -> nn.Sequential:
    """SiLU and a Linear that regress `vectors` vectors of D numbers from the conditioning."""
    return nn.Sequential(nn.SiLU(), Linear(hidden_size, vectors * hidden_size))


def regress(modulations: Sequence[nn.Sequential], vector: Tensor) -> list[tuple[Tensor, ...]]:
    """What each `modulation` makes of the conditioning vector (N, D): its vectors, (N, 1, D) each.

    The vectors are parts of one tensor, cut in one go: their gradients are put together once.
    """
    D = vector.shape[-1]
    linear_layers = cast("list[nn.Linear]", [linear for _silu, linear in modulations])
    weights = [each.weight for each in linear_layers]
    biases = [each.bias for each in linear_layers]
    vectors = iter(linears(F.silu(vector), weights, biases).unsqueeze(1).split(D, dim=-1))
    return [tuple(islice(vectors, each.out_features // D)) for each in linear_layers]


def sincos_positions(hidden_size: int, height: int, width: int) -> Tensor:
    """Fixed 2-D sine-cosine positions of a grid of tokens: (1, height * width, D) float32.

    Half of the D numbers say the column, half the row, each as sines, then cosines
    (He et al. 2022, MAE; Peebles & Xie 2022, section 3.2).
    """
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    quarter = hidden_size // 4
    # float64: the angles reach the grid's size, and the table is a constant of the model.
    frequencies = 10_000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)

    def encode(position: Tensor) -> Tensor:
        angles = position.reshape(-1, 1) * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    return torch.cat([encode(column), encode(row)], dim=-1).float().unsqueeze(0)
