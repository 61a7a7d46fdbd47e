"""Classifier-free guidance, once for every objective."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Model = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`model(x, t, y) -> out`: x (N, C, H, W), t (N,) model time, y (N,) labels, out (N, C_out, H, W).

Model time is what the network embeds: 0..999 for `ddpm` (int64), 1000 * t for `flow` (float32).
"""


def guided(model: Model, cfg_scale: float, null_class: int | None, channels: int) -> Model:
    """A model whose prediction is guided towards its label.

    The convention is that of DiT, section 3.1: `null + cfg_scale * (conditional - null)`, so 1 is
    the plain conditional model and larger is stronger. (Ho & Salimans 2022, arXiv 2207.12598,
    eq. 6, write the same with a weight w = cfg_scale - 1.) A scale of 1 costs one forward pass
    of N rows; any other costs one of 2N: the conditional rows, then the null rows.

    Every image channel is guided. The equation is one of scores, and a score has all C channels:
    extrapolating only some of them, as some samplers do, mixes a guided and an unguided
    distribution within one image, and ties the result to the order of the channels. The weights
    sum to 1, so guiding a velocity is guiding the eps that it stands for. A predicted variance is
    no score: it is taken from the conditional rows as it is.

    Args:
        model: the network, on (x, t, y).
        cfg_scale: the guidance scale, without a unit; 1 is no guidance.
        null_class: the label that stands for "no label"; needed unless `cfg_scale` is 1.
        channels: C, the image channels that lead the model's output; those after are variances.

    Returns:
        A callable of the same signature; its output is float32 where guidance takes place.

    Raises:
        ValueError: `cfg_scale` is not 1 and `null_class` is None.
    """
    if cfg_scale == 1:
        return model
    if null_class is None:
        raise ValueError(f"cfg_scale={cfg_scale} needs a null_class; only cfg_scale=1 does without")

    def guided_model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        labels = torch.cat([y, torch.full_like(y, null_class)])  # (2N,)
        out = model(torch.cat([x, x]), torch.cat([t, t]), labels)  # (2N, C_out, H, W)
        # Extrapolation magnifies rounding, so it is not done in a model's bfloat16.
        conditional, null = out.float().chunk(2)
        image = torch.lerp(null[:, :channels], conditional[:, :channels], cfg_scale)
        return torch.cat([image, conditional[:, channels:]], dim=1)

    return guided_model
