"""The noise schedule of DDPM: the coefficients of each timestep, for all steps or a subset."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ditbench.errors import DitbenchError

Spacing = Literal["even", "stride"]


class Coefficients(NamedTuple):
    """The coefficients of one step (floats), or of a batch of steps (tensors (N, 1, 1, 1)).

    Step i of a chain has beta_i, and abar_i, the product of 1 - beta up to i (Ho et al. 2020,
    arXiv 2006.11239, section 2, whose equations are named below).
    """

    sqrt_abar: float | Tensor  # weight of x_0 in x_t (eq. 4)
    sqrt_one_minus_abar: float | Tensor  # weight of eps in x_t (eq. 4)
    posterior_x0: float | Tensor  # weight of x_0 in the mean of q(x_{t-1} | x_t, x_0) (eq. 7)
    posterior_xt: float | Tensor  # weight of x_t in that mean (eq. 7)
    log_beta_tilde: float | Tensor  # log of its variance (eq. 7); at step 0, that of step 1
    log_beta: float | Tensor  # log of beta, the upper end of a learned log-variance

    def diffuse(self, x0: Tensor, eps: Tensor) -> Tensor:
        """x_t of images and noise, (N, C, H, W) each (eq. 4)."""
        return self.sqrt_abar * x0 + self.sqrt_one_minus_abar * eps

    def predict_x0(self, x_t: Tensor, eps: Tensor) -> Tensor:
        """x_0 such that `diffuse(x_0, eps)` is x_t."""
        return (x_t - self.sqrt_one_minus_abar * eps) / self.sqrt_abar

    def predict_eps(self, x_t: Tensor, x0: Tensor) -> Tensor:
        """The noise eps such that `diffuse(x0, eps)` is x_t."""
        return (x_t - self.sqrt_abar * x0) / self.sqrt_one_minus_abar

    def posterior_mean(self, x0: Tensor, x_t: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (eq. 7)."""
        return self.posterior_x0 * x0 + self.posterior_xt * x_t

    def learned_log_variance(self, v: Tensor) -> Tensor:
        """Interpolate the log-variance by a model's output, (N, C, H, W).

        Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15. A model's output is centred on 0, so
        v = -1 means beta-tilde, 1 means beta, and the 0 of a new model their middle.
        """
        fraction = (v + 1) / 2
        return self.log_beta_tilde + fraction * (self.log_beta - self.log_beta_tilde)


class Schedule:
    """A chain of S noising steps: all T of the training's, or a subset.

    From the model time of each step (S,), int64, increasing, and abar of each (S,), decreasing.
    Everything is computed and kept in float64 on the CPU, with a float32 copy per device in use.
    """

    def __init__(self, timesteps: Tensor, alphas_cumprod: Tensor) -> None:
        abar = alphas_cumprod
        abar_before = torch.cat([abar.new_ones(1), abar[:-1]])
        beta = 1 - abar / abar_before
        beta_tilde = beta * (1 - abar_before) / (1 - abar)
        # At the first step x_0 is known: the posterior's variance is 0 and its log is not finite.
        # The next step's variance replaces it; a chain of one step has beta alone.
        beta_tilde[0] = beta_tilde[1] if len(abar) > 1 else beta[0]

        self.timesteps = timesteps
        self.alphas_cumprod = abar
        self.betas = beta
        columns = Coefficients(
            sqrt_abar=abar.sqrt(),
            sqrt_one_minus_abar=(1 - abar).sqrt(),
            posterior_x0=abar_before.sqrt() * beta / (1 - abar),
            posterior_xt=(abar / abar_before).sqrt() * (1 - abar_before) / (1 - abar),
            log_beta_tilde=beta_tilde.log(),
            log_beta=beta.log(),
        )
        self._table = torch.stack([torch.as_tensor(column) for column in columns])  # (6, S)
        self._tables_on: dict[torch.device, Tensor] = {}

    @classmethod
    def linear(cls, timesteps: int, beta_start: float, beta_end: float) -> Schedule:
        """The linear schedule of Ho et al. 2020, section 4: T betas, evenly spaced."""
        betas = torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float64)
        return cls(torch.arange(timesteps), torch.cumprod(1 - betas, dim=0))

    def __len__(self) -> int:
        return len(self.timesteps)

    def respaced(self, steps: int, spacing: Spacing = "even") -> Schedule:
        """A chain of `steps` of the timesteps.

        The betas follow from the abar of the timesteps that are kept (Nichol & Dhariwal 2021,
        section 4). `even` spaces them from the first to the last; with one step it is the last,
        that of pure noise. `stride` takes every k-th from the first, for the least whole k that
        gives so many: the released code's `ddimN`, as in the code of Song et al. 2021. A
        DitbenchError if no stride does.
        """
        last = len(self) - 1
        first = last if steps == 1 else 0
        kept = torch.linspace(first, last, steps, dtype=torch.float64).round().long()
        if spacing == "stride":
            kept = torch.arange(0, len(self), self._stride(steps))
        return Schedule(self.timesteps[kept], self.alphas_cumprod[kept])

    def _stride(self, steps: int) -> int:
        """The least k such that every k-th timestep makes so many steps."""
        counts = {len(range(0, len(self), k)): k for k in range(len(self) - 1, 0, -1)}
        if steps not in counts:
            near = sorted(sorted(counts, key=lambda count: abs(count - steps))[:2])
            raise DitbenchError(
                f"no whole stride through {len(self)} timesteps takes {steps} steps",
                f"choose {' or '.join(map(str, near))} sampling steps, or eval.spacing=even",
            )
        return counts[steps]

    def at_step(self, i: int) -> Coefficients:
        """The coefficients of step i as Python floats, which need no copy to a device."""
        return Coefficients(*self._table[:, i].tolist())

    def at(self, steps: Tensor) -> Coefficients:
        """The coefficients of steps (N,), int64, as float32 (N, 1, 1, 1) on the same device."""
        device = steps.device
        if device not in self._tables_on:
            # Cast before the copy, because not every device has float64.
            self._tables_on[device] = self._table.float().to(device)
        return Coefficients(*self._tables_on[device][:, steps, None, None, None].unbind())
