"""DDPM's loss with a learned variance, and its gradient, by one kernel for a GPU.

torch's operations for it are some 130, each of which does next to nothing. The kernel needs Triton;
`ditbench.objectives.ddpm` has the formulas' sources, and computes the same without it.
"""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra import libdevice

from ditbench.objectives.vlb import HALF_BIN, LEAST_PROBABILITY

# Numbers a program, and its warps.
LAUNCH = {"BLOCK": 1024, "num_warps": 4}

_HALF_BIN = tl.constexpr(HALF_BIN)
_LEAST = tl.constexpr(LEAST_PROBABILITY)
_SQRT_HALF = tl.constexpr(sqrt(0.5))
_SLOPE = tl.constexpr(0.5 / sqrt(pi))
_INFINITY = tl.constexpr(float("inf"))


@triton.jit
def _erfc(z, ON_GPU: tl.constexpr):
    if ON_GPU:
        return libdevice.erfc(z)
    else:  # noqa: RET505 (Triton drops one branch); the interpreter, in tests, has no erfc
        return 1 - tl.erf(z)


@triton.jit
def _likelihood(x, mean, log_var, ON_GPU: tl.constexpr):
    """The negative logarithm of an 8-bit value's probability, and its slope by the log-variance."""
    scale = tl.exp(-0.5 * log_var) * _SQRT_HALF
    is_first, is_last = x < -1 + _HALF_BIN, x > 1 - _HALF_BIN
    below, above = (x - _HALF_BIN - mean) * scale, (x + _HALF_BIN - mean) * scale
    # The derivative of the normal distribution's function is a bell, which is 0 at infinity.
    bell_below = tl.where(is_first, 0.0, below * tl.exp(-below * below))
    bell_above = tl.where(is_last, 0.0, above * tl.exp(-above * above))
    below = tl.where(is_first, -_INFINITY, below)
    above = tl.where(is_last, _INFINITY, above)
    mirror = below + above > 0
    lower, upper = tl.where(mirror, -above, below), tl.where(mirror, -below, above)
    probability = 0.5 * (_erfc(-upper, ON_GPU) - _erfc(-lower, ON_GPU))
    held = tl.maximum(probability, _LEAST)
    slope = tl.where(probability < _LEAST, 0.0, (bell_above - bell_below) * _SLOPE / held)
    return -tl.log(held), slope


@triton.jit
def _loss_kernel(
    out, x0, noise, times, table, grads, losses, T, size, share, weight,
    ON_GPU: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = i < size
    coefficients = table + tl.load(times + n)
    sqrt_abar, sqrt_rest = tl.load(coefficients), tl.load(coefficients + T)
    posterior_x0, posterior_xt = tl.load(coefficients + 2 * T), tl.load(coefficients + 3 * T)
    low, high = tl.load(coefficients + 4 * T), tl.load(coefficients + 5 * T)
    x = tl.load(x0 + n * size + i, mask, 0.0)
    drawn = tl.load(noise + n * size + i, mask, 0.0)
    eps = tl.load(out + n * 2 * size + i, mask, 0.0).to(tl.float32)
    v = tl.load(out + (n * 2 + 1) * size + i, mask, 0.0).to(tl.float32)

    error = eps - drawn
    log_var = low + (v + 1) / 2 * (high - low)
    # How far the model's posterior mean is from the true one.
    miss = posterior_x0 * sqrt_rest / sqrt_abar * error
    if tl.load(times + n) == 0:
        mean = posterior_x0 * x + posterior_xt * (sqrt_abar * x + sqrt_rest * drawn) - miss
        bound, slope = _likelihood(x, mean, log_var, ON_GPU)
    else:
        ratio, off = tl.exp(low - log_var), miss * miss * tl.exp(-log_var)
        bound = 0.5 * (ratio - 1 - (low - log_var) + off)
        slope = 0.5 * (1 - ratio - off)
    grad_eps = 2 * share * error
    grad_v = weight * share * slope * (high - low) / 2
    tl.store(grads + n * 2 * size + i, grad_eps.to(grads.dtype.element_ty), mask)
    tl.store(grads + (n * 2 + 1) * size + i, grad_v.to(grads.dtype.element_ty), mask)
    loss = tl.where(mask, error * error + weight * bound, 0.0)
    tl.store(losses + n * tl.num_programs(1) + tl.program_id(1), tl.sum(loss, 0) * share)


class HybridLoss(torch.autograd.Function):
    """The mean squared error of eps, plus the weighted bound in bits.

    Of the model's output (N, 2 C, H, W), eps and then v; images and noise (N, C, H, W) float32;
    times (N,); the schedule's coefficients (6, T) float32, and the weight of the bound.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, out: Tensor, x0: Tensor, noise: Tensor, t: Tensor, table: Tensor, weight: float
    ) -> Tensor:
        out, x0, noise = out.contiguous(), x0.contiguous(), noise.contiguous()
        size = x0[0].numel()
        blocks = triton.cdiv(size, LAUNCH["BLOCK"])
        grads = torch.empty_like(out)
        losses = out.new_empty(len(out), blocks, dtype=torch.float32)
        _loss_kernel[(len(out), blocks)](
            out, x0, noise, t, table, grads, losses, table.shape[1], size, 1 / x0.numel(),
            weight / log(2), out.is_cuda, **LAUNCH,
        )  # fmt: skip
        ctx.save_for_backward(grads)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        (grads,) = ctx.saved_tensors
        return grads * grad, None, None, None, None, None
