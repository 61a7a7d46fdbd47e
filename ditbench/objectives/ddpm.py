"""The paper's objective: predict the noise and the variance of a diffusion step."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from ditbench.objectives.base import Objective, draw_normal
from ditbench.objectives.schedule import Coefficients, Schedule
from ditbench.objectives.vlb import discretized_gaussian_log_likelihood, gaussian_kl

if TYPE_CHECKING:
    from torch import Tensor

    from ditbench.objectives.guidance import Model

BOUND_WEIGHT = 0.001
"""Lambda, the weight of the bound over all T steps (Nichol & Dhariwal 2021, section 3.1)."""


class DDPM(Objective):
    """Denoising diffusion with a linear schedule (Ho et al. 2020; DiT, section 3.1).

    With `learn_sigma` the model gives 2C channels: eps, then v, which sets the log-variance between
    those of beta-tilde and beta (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15). The loss is
    hybrid (their eq. 16): the mean squared error of eps, plus the variational bound in bits per
    dimension, in which eps is detached, so that the bound trains the variance and nothing else.
    Its term for the first timestep takes images for 8-bit pixels; for latents it is a surrogate.

    Without `learn_sigma` the model gives eps alone, the loss is its mean squared error, and
    sampling takes the posterior variance, beta-tilde. With all T steps beta does as well; with few,
    beta is far too large and leaves noise in the samples (Song et al. 2021, arXiv 2010.02502,
    Table 1, where it is sigma-hat), and few steps are what a benchmark samples with.

    Samplers, over evenly spaced timesteps: `ddpm`, ancestral, which needs a generator; `ddim`,
    deterministic (Song et al. 2021, eq. 12 with sigma = 0).

    Args:
        timesteps: T, the steps of the training chain; model times are 0..T-1.
        beta_start: beta of the first step.
        beta_end: beta of the last step.
        learn_sigma: whether the model predicts the variance too.

    Raises:
        ValueError: the schedule is not one: T < 1, or not 0 < beta_start <= beta_end < 1.
    """

    name: ClassVar[str] = "ddpm"
    samplers: ClassVar[tuple[str, ...]] = ("ddpm", "ddim")

    def __init__(
        self,
        timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        *,
        learn_sigma: bool = True,
    ) -> None:
        self.schedule = Schedule.linear(timesteps, beta_start, beta_end)
        self.learn_sigma = learn_sigma
        self.max_steps = timesteps
        # The bound is a sum over T terms, of which each image's t picks one. T times the mean of
        # the picked terms is an unbiased estimate. At T = 1000, T and lambda cancel: the weight
        # is 1, and the two parts of the loss are simply added.
        self.bound_weight = BOUND_WEIGHT * timesteps

    def output_channels(self, channels: int) -> int:
        """2C, eps and the variance, or C without `learn_sigma`."""
        return 2 * channels if self.learn_sigma else channels

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_0) (Ho et al. 2020, eq. 4).

        Args:
            x0: images (N, C, H, W).
            t: timesteps (N,), int64, 0..T-1.
            noise: standard normal noise (N, C, H, W).
        """
        return self.schedule.at(t).diffuse(x0, noise)

    def draw(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Timesteps 0..T-1, all equally likely, and noise; see `Objective.draw`."""
        t = torch.randint(
            len(self.schedule), x.shape[:1], generator=generator, device=generator.device
        )
        return t.to(x.device, non_blocking=x.is_cuda), draw_normal(x, generator)

    def loss_at(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """`loss` of the model's output at timesteps t; see `Objective.loss_at`."""
        x = x.float()
        x_t = self.q_sample(x, t, noise)
        return self.loss(self.output(model, x_t, t, y), x, x_t, t, noise)

    def loss(self, out: Tensor, x: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of eps, plus the bound with `learn_sigma`; see `Objective.loss`."""
        eps, v = self.split(out)
        mse = F.mse_loss(eps, noise)
        if v is None:
            return mse
        return mse + self.bound_weight * self.bound(x, x_t, t, eps.detach(), v).mean()

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split a model's output into eps and v (None without `learn_sigma`).

        Both are (N, C, H, W), float32.
        """
        if not self.learn_sigma:
            return out.float(), None
        eps, v = out.float().chunk(2, dim=1)
        return eps, v

    def bound(self, x0: Tensor, x_t: Tensor, t: Tensor, eps: Tensor, v: Tensor) -> Tensor:
        """Term t of the variational bound in bits, (N, C, H, W) (Ho et al. 2020, eq. 5)."""
        c = self.schedule.at(t)
        mean = c.posterior_mean(c.predict_x0(x_t, eps), x_t)
        log_var = c.learned_log_variance(v)
        kl = gaussian_kl(c.posterior_mean(x0, x_t), c.log_beta_tilde, mean, log_var)
        nll = -discretized_gaussian_log_likelihood(x0, mean, log_var)
        return torch.where(t.view(-1, 1, 1, 1) == 0, nll, kl) / log(2)

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
        if sampler == "ddim":
            generator = None  # from here on, a generator means ancestral steps
        elif generator is None:
            raise ValueError("the ddpm sampler draws noise at every step: it needs a generator")
        schedule = self.schedule.respaced(steps)
        times = schedule.timesteps.tolist()

        def denoise(x: Tensor, i: int) -> tuple[Tensor, Tensor | None]:
            """The image that the model sees in x at step i, and its v."""
            t = torch.full((x.shape[0],), times[i], device=x.device)
            eps, v = self.split(self.output(model, x, t, y))
            x0 = schedule.at_step(i).predict_x0(x, eps)
            return x0.clamp(-1, 1) if clip else x0, v

        for i in range(steps - 1, 0, -1):
            c = schedule.at_step(i)
            x0, v = denoise(x, i)
            if generator is None:
                # A clipped x_0 needs the eps that goes with it, or the two would not make up x.
                x = schedule.at_step(i - 1).diffuse(x0, c.predict_eps(x, x0))
            else:
                x = c.posterior_mean(x0, x) + _standard_deviation(c, v) * draw_normal(x, generator)
        # At the first step both samplers reduce to the predicted image: nothing is left to add.
        return denoise(x, 0)[0]


def _standard_deviation(c: Coefficients, v: Tensor | None) -> float | Tensor:
    """Standard deviation of an ancestral step: learned from v (N, C, H, W), or the posterior's."""
    if v is None:
        return exp(c.log_beta_tilde / 2)
    return torch.exp(c.learned_log_variance(v) / 2)
