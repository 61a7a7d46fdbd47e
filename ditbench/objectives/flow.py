"""Rectified flow: straight paths from data to noise, and the velocity along them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ditbench.objectives.base import Denoise, Objective
from ditbench.objectives.guidance import Model
from ditbench.objectives.samplers import euler, heun
from ditbench.seeds import Draws, normal_like

# Model time of t = 1, so that flow and DDPM use the same range of the time embedding.
TIME_SCALE = 1000.0


class Flow(Objective):
    """Rectified flow with logit-normal times (Esser et al. 2024, arXiv 2403.03206).

    The path is x_t = (1 - t) x_0 + t eps, from data at t = 0 to noise at t = 1. The model predicts
    its velocity v = eps - x_0 (section 2). Times are the sigmoid of a standard normal (section
    3.1), which puts most of them in the middle of the path, where it is hardest to predict.
    """

    name: ClassVar[str] = "flow"
    samplers: ClassVar[tuple[str, ...]] = ("euler", "heun")

    def output_channels(self, channels: int) -> int:
        """C: the velocity alone."""
        return channels

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw logit-normal times in (0, 1), then noise."""
        t = torch.sigmoid(normal_like(x[:, 0, 0, 0], generator))  # (N,)
        return t, normal_like(x, generator)

    def loss_at(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The loss at times t in (0, 1)."""
        x = x.float()
        x_t = torch.lerp(x, noise, t.view(-1, 1, 1, 1))
        return self.loss(self.output(model, x_t, TIME_SCALE * t, y), x, x_t, t, noise)

    def loss(self, out: Tensor, x: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of the velocity; every time has the same weight."""
        del x_t, t
        return F.mse_loss(out.float(), noise - x)

    def _sample(
        self, denoise: Denoise, x: Tensor, steps: int, by: str, rng: Draws | None, *, clip: bool
    ) -> Tensor:
        del rng  # both samplers are deterministic
        integrate = heun if by == "heun" else euler
        x = integrate(lambda x, t: denoise(x, TIME_SCALE * t), x, steps)
        return x.clamp(-1, 1) if clip else x
