"""Samplers: functions that turn noise into images by calling `denoise`.

`denoise(x, t)` is what a model predicts for x (N, C, H, W) at one time t. Images and noise are
float32. t and everything else that differs between steps is a Python number, so no sampler waits
for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Literal

import torch
from torch import Tensor

from ditbench.objectives.schedule import Schedule
from ditbench.seeds import Draws, normal_like

# The velocity (N, C, H, W) of a flow at time t, from 0 (data) to 1 (noise).
Velocity = Callable[[Tensor, float], Tensor]
# eps and v, (N, C, H, W) each, at timestep t of the training chain. v sets the variance, see
# `Coefficients.learned_log_variance`; it is None where nothing learns it.
Noise = Callable[[Tensor, int], tuple[Tensor, Tensor | None]]
# A fixed variance of ancestral steps: the posterior's, beta-tilde, or beta.
Variance = Literal["small", "large"]


def euler(denoise: Velocity, x: Tensor, steps: int) -> Tensor:
    """Integrate dx/dt = v from t = 1 to t = 0 in equal steps of first order."""
    dt = -1 / steps
    for i in range(steps):
        x = x + dt * denoise(x, 1 - i / steps)
    return x


def heun(denoise: Velocity, x: Tensor, steps: int) -> Tensor:
    """The same by the trapezoidal rule, of second order: two evaluations per step."""
    dt = -1 / steps
    for i in range(steps):
        slope = denoise(x, 1 - i / steps)
        ahead = denoise(x + dt * slope, 1 - (i + 1) / steps)
        x = x + dt * ((slope + ahead) / 2)
    return x


def ancestral(
    denoise: Noise,
    x: Tensor,
    schedule: Schedule,
    generator: Draws,
    *,
    clip: bool,
    variance: Variance = "small",
) -> Tensor:
    """Draw x_{t-1} from the model's estimate of q(x_{t-1} | x_t, x_0), step by step.

    Its variance is the learned one, or the fixed `variance` where `denoise` gives no v (Ho et al.
    2020, arXiv 2006.11239, section 3.2 and Algorithm 2). The steps of the schedule are taken last
    one first; `clip` clamps every predicted image to [-1, 1].
    """
    for i in range(len(schedule) - 1, 0, -1):
        c = schedule.at_step(i)
        x0, v = _predict_x0(denoise, x, schedule, i, clip=clip)
        fixed = c.log_beta_tilde if variance == "small" else c.log_beta
        std = exp(fixed / 2) if v is None else torch.exp(c.learned_log_variance(v) / 2)
        x = c.posterior_mean(x0, x) + std * normal_like(x, generator)
    return _predict_x0(denoise, x, schedule, 0, clip=clip)[0]


def ddim(denoise: Noise, x: Tensor, schedule: Schedule, *, clip: bool) -> Tensor:
    """Deterministic steps (Song et al. 2021, arXiv 2010.02502, eq. 12 with sigma = 0)."""
    for i in range(len(schedule) - 1, 0, -1):
        x0, _ = _predict_x0(denoise, x, schedule, i, clip=clip)
        # Not the model's eps: with a clipped x_0 it would not add up to x.
        eps = schedule.at_step(i).predict_eps(x, x0)
        x = schedule.at_step(i - 1).diffuse(x0, eps)
    return _predict_x0(denoise, x, schedule, 0, clip=clip)[0]


def _predict_x0(
    denoise: Noise, x: Tensor, schedule: Schedule, i: int, *, clip: bool
) -> tuple[Tensor, Tensor | None]:
    """The image that the model predicts from x at step i, and its v; at step 0, the sample."""
    eps, v = denoise(x, int(schedule.timesteps[i]))
    x0 = schedule.at_step(i).predict_x0(x, eps)
    return x0.clamp(-1, 1) if clip else x0, v
