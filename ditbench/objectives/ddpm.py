"""The paper's objective: predict the noise and the variance of a diffusion step."""

from __future__ import annotations

from math import inf, log, sqrt
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ditbench.errors import DitbenchError
from ditbench.objectives.base import Denoise, Objective
from ditbench.objectives.guidance import Model
from ditbench.objectives.samplers import Variance, ancestral, ddim
from ditbench.objectives.schedule import Schedule, Spacing
from ditbench.seeds import Draws, normal_like

# The first and the last beta (Ho et al. 2020, section 4).
BETAS = (1e-4, 0.02)
# Lambda, the weight of the bound over all T steps (Nichol & Dhariwal 2021, section 3.1).
BOUND_WEIGHT = 0.001
# Half the distance between neighbouring 8-bit values once 0..255 is mapped to [-1, 1].
HALF_BIN = 1 / 255
# Lower bound of a probability (27.6 nats), which bounds the loss of an outlier.
LEAST_PROBABILITY = 1e-12


class DDPM(Objective):
    """Denoising diffusion with a linear schedule (Ho et al. 2020; DiT, section 3.1).

    With `learn_sigma` the model predicts 2C channels: eps, then v, which sets the log-variance
    between those of beta-tilde and beta (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15). The
    loss is hybrid (their eq. 16): the mean squared error of eps, plus the variational bound in bits
    per dimension. eps is detached in the bound, so the bound trains the variance alone. Its term
    for the first timestep assumes 8-bit pixels; for latents it is a surrogate.

    Without `learn_sigma` the model predicts eps alone, the loss is its mean squared error, and
    ancestral sampling uses a fixed `variance`: `small`, the posterior's beta-tilde, or `large`,
    beta, which is the released code's. With few steps beta leaves noise in the samples (Song et al.
    2021, arXiv 2010.02502, Table 1, where it is called sigma-hat). A DitbenchError for `large` with
    `learn_sigma`, where the model predicts the variance.
    """

    name: ClassVar[str] = "ddpm"
    samplers: ClassVar[tuple[str, ...]] = ("ddpm", "ddim")

    def __init__(
        self,
        timesteps: int = 1000,  # T, the steps of the training chain
        *,
        learn_sigma: bool = True,
        variance: Variance = "small",
        spacing: Spacing = "even",
    ) -> None:
        if learn_sigma and variance != "small":
            raise DitbenchError(
                f"eval.variance = {variance} is for models that do not learn the variance",
                "leave it out, or train with --set objective.learn_sigma=false",
            )
        self.schedule = Schedule.linear(timesteps, *BETAS)
        self.learn_sigma = learn_sigma
        self.variance = variance
        self.spacing = spacing
        self.max_steps = timesteps
        # The bound is a sum of T terms. Each image's t selects one; T times the mean of the
        # selected terms is an unbiased estimate. At T = 1000 the weight is 1: the two parts of
        # the loss are simply added.
        self.bound_weight = BOUND_WEIGHT * timesteps

    def output_channels(self, channels: int) -> int:
        """2C, eps and the variance, or C without `learn_sigma`."""
        return 2 * channels if self.learn_sigma else channels

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw uniform timesteps 0..T-1, int64, then noise."""
        t = torch.randint(
            len(self.schedule), x.shape[:1], generator=generator, device=generator.device
        )
        return t.to(x.device, non_blocking=x.is_cuda), normal_like(x, generator)

    def loss_at(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The loss at timesteps t, int64."""
        x = x.float()
        x_t = self.schedule.at(t).diffuse(x, noise)
        return self.loss(self.output(model, x_t, t, y), x, x_t, t, noise)

    def loss(self, out: Tensor, x: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of eps, plus the bound with `learn_sigma`."""
        eps, v = self.split(out)
        mse = F.mse_loss(eps, noise)
        if v is None:
            return mse
        return mse + self.bound_weight * self.bound(x, x_t, t, eps.detach(), v).mean()

    def noise_draws(self, sampler: str, steps: int) -> int:
        """One per step of the ancestral sampler, but for the last."""
        return steps - 1 if sampler == "ddpm" else 0

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """A model's eps and v (None without `learn_sigma`), (N, C, H, W) each, float32."""
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
        self, denoise: Denoise, x: Tensor, steps: int, by: str, rng: Draws | None, *, clip: bool
    ) -> Tensor:
        def noise(x: Tensor, t: int) -> tuple[Tensor, Tensor | None]:
            return self.split(denoise(x, t))

        schedule = self.schedule.respaced(steps, self.spacing)
        if by == "ddim":
            return ddim(noise, x, schedule, clip=clip)
        if rng is None:
            raise ValueError("the ddpm sampler draws noise at every step: it needs a generator")
        return ancestral(noise, x, schedule, rng, clip=clip, variance=self.variance)

    def check_sampling(self, sampler: str | None, steps: int) -> str:
        """The sampler's name; see `Objective.check_sampling` and `Schedule.respaced`."""
        sampler = super().check_sampling(sampler, steps)
        self.schedule.respaced(steps, self.spacing)
        return sampler


def gaussian_kl(
    mean_p: Tensor, log_var_p: float | Tensor, mean_q: Tensor, log_var_q: Tensor
) -> Tensor:
    """KL(p || q) of normal distributions by mean and log-variance, in nats, elementwise."""
    ratio = log_var_p - log_var_q
    return 0.5 * (ratio.exp() - 1 - ratio + (mean_p - mean_q).square() * torch.exp(-log_var_q))


def discretized_gaussian_log_likelihood(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log of the probability that a normal distribution gives to the bins of 8-bit values, in nats.

    A bin reaches half a grey level to either side of its value. The first and the last bin reach
    to infinity, so the 256 probabilities sum to 1 (Ho et al. 2020, arXiv 2006.11239, eq. 13). The
    released DiT code approximates the normal CDF by a tanh, where this is exact. All arguments are
    (N, C, H, W); x has 8-bit values mapped to [-1, 1].
    """
    scale = torch.exp(-0.5 * log_var) / sqrt(2)
    below = ((x - HALF_BIN - mean) * scale).masked_fill(x < -1 + HALF_BIN, -inf)
    above = ((x + HALF_BIN - mean) * scale).masked_fill(x > 1 - HALF_BIN, inf)
    # A bin above the mean is mirrored to below it. There both tails are small numbers, whose
    # difference float32 resolves; above the mean both round to 1.
    mirror = below + above > 0
    lower, upper = torch.where(mirror, -above, below), torch.where(mirror, -below, above)
    probability = 0.5 * (torch.erfc(-upper) - torch.erfc(-lower))
    return probability.clamp(min=LEAST_PROBABILITY).log()
