"""Rectified flow: straight paths from data to noise, and the velocity along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from ditbench.objectives.base import Objective, draw_normal

if TYPE_CHECKING:
    from torch import Tensor

    from ditbench.objectives.guidance import Model

TIME_SCALE = 1000.0
"""Model time of t = 1, so that flow and DDPM use the same range of the time embedding."""


class Flow(Objective):
    """Rectified flow with logit-normal times (Esser et al. 2024, arXiv 2403.03206).

    The path is x_t = (1 - t) x_0 + t eps, from data at t = 0 to noise at t = 1, and the model
    predicts its velocity v = eps - x_0 (section 2 and "Rectified Flow" in section 3). Times are
    the sigmoid of a standard normal (section 3.1, "Logit-Normal Sampling", location 0 and scale 1):
    the middle of the path, where the velocity is hardest to tell, is seen most.

    Sampling follows dx/dt = v from t = 1 to t = 0 over equal steps: `euler` is of first order;
    `heun` (the trapezoidal rule) is of second, at two evaluations of the model a step.
    """

    name: ClassVar[str] = "flow"
    samplers: ClassVar[tuple[str, ...]] = ("euler", "heun")

    def output_channels(self, channels: int) -> int:
        """C: the velocity, and nothing else."""
        return channels

    def draw(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Logit-normal times in (0, 1), and noise; see `Objective.draw`."""
        t = torch.sigmoid(draw_normal(x[:, 0, 0, 0], generator))  # (N,)
        return t, draw_normal(x, generator)

    def loss_at(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """`loss` of the model's output at times t; see `Objective.loss_at`."""
        x = x.float()
        x_t = torch.lerp(x, noise, t.view(-1, 1, 1, 1))
        return self.loss(self.output(model, x_t, TIME_SCALE * t, y), x, x_t, t, noise)

    def loss(self, out: Tensor, x: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of the velocity; see `Objective.loss`."""
        del x_t, t  # every time has the same weight
        return F.mse_loss(out.float(), noise - x)

    def _sample(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        steps: int,
        sampler: str,
        generator: torch.Generator | None,
        *,
        clip: bool,
    ) -> Tensor:
        del generator  # both samplers solve an ordinary differential equation: nothing is drawn

        def velocity(x: Tensor, t: float) -> Tensor:
            times = x.new_full((x.shape[0],), TIME_SCALE * t)
            return self.output(model, x, times, y).float()

        dt = -1 / steps
        for i in range(steps):
            slope = velocity(x, 1 - i / steps)
            if sampler == "heun":
                ahead = velocity(x + dt * slope, 1 - (i + 1) / steps)
                slope = (slope + ahead) / 2
            x = x + dt * slope
        return x.clamp(-1, 1) if clip else x
