"""Sine-cosine features of timesteps and of positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEATURES = 256  # of a timestep


def timestep_features(t: Tensor) -> Tensor:
    """Cosines, then sines, of t (N,) at 128 geometric frequencies: (N, 256) float32."""
    half = FEATURES // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def sincos_positions(hidden_size: int, height: int, width: int) -> Tensor:
    """Fixed 2-D sine-cosine positions of a grid of tokens: (1, height * width, D) float32.

    Half of the D numbers encode the column, half the row, each as sines, then cosines
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
