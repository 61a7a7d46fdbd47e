"""Classifier-free guidance, the same for every objective."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Model = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`model(x, t, y) -> out`: x (N, C, H, W), t (N,) model time, y (N,) labels, out (N, C_out, H, W).

Model time is what the network embeds: 0..999 for `ddpm` (int64), 1000 * t for `flow` (float32).
"""


def guided(model: Model, cfg_scale: float, null_class: int | None, channels: int) -> Model:
    """Wrap a model so that its prediction is guided towards the label.

    The convention is that of DiT, section 3.1: `null + cfg_scale * (conditional - null)`, so 1 is
    the plain conditional model and larger is stronger. (Ho & Salimans 2022, arXiv 2207.12598,
    eq. 6, write the same with a weight w = cfg_scale - 1.) A scale of 1 costs one forward pass
    of N rows; any other costs one of 2N rows, and the output is then float32.

    The first `channels` of the output are extrapolated: all C, or fewer (the released DiT code
    extrapolates three of its four latent channels by default). Guiding a velocity equals guiding
    its eps, because the weights sum to 1. A predicted variance is not a score: it is taken from the
    conditional rows unchanged. A ValueError for guidance without a null class.
    """
    if cfg_scale == 1:
        return model
    if null_class is None:
        raise ValueError(f"cfg_scale={cfg_scale} needs a null_class")

    def guided_model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        labels = torch.cat([y, torch.full_like(y, null_class)])  # (2N,)
        out = model(torch.cat([x, x]), torch.cat([t, t]), labels)  # (2N, C_out, H, W)
        # In float32, because extrapolation amplifies the rounding of a bfloat16 output.
        conditional, null = out.float().chunk(2)
        image = torch.lerp(null[:, :channels], conditional[:, :channels], cfg_scale)
        return torch.cat([image, conditional[:, channels:]], dim=1)

    return guided_model
