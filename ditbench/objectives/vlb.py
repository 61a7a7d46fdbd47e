"""The two kinds of term in a diffusion model's variational bound, in nats per element."""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Tensor

HALF_BIN = 1 / 255
"""Half the distance between neighbouring 8-bit values once 0..255 is mapped to [-1, 1]."""

LEAST_PROBABILITY = 1e-12
"""Lower bound of a probability (27.6 nats), which bounds the loss of an outlier."""


def gaussian_kl(
    mean_p: Tensor, log_var_p: float | Tensor, mean_q: Tensor, log_var_q: Tensor
) -> Tensor:
    """KL(p || q) of two normal distributions, in nats, elementwise.

    Args:
        mean_p: mean of p; all arguments broadcast, for instance to (N, C, H, W).
        log_var_p: log of p's variance.
        mean_q: mean of q.
        log_var_q: log of q's variance.
    """
    ratio = log_var_p - log_var_q
    return 0.5 * (ratio.exp() - 1 - ratio + (mean_p - mean_q).square() * torch.exp(-log_var_q))


def discretized_gaussian_log_likelihood(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log of the probability that a normal distribution gives to the bins of 8-bit values, in nats.

    A bin reaches half a grey level to either side of its value. The first and the last bin reach
    to infinity, so the 256 probabilities sum to 1 (Ho et al. 2020, arXiv 2006.11239, eq. 13). The
    released DiT code differs in two details: it approximates the normal CDF by a tanh, where this
    is exact, and its outermost bins begin at |x| = 0.999, where these begin at 1 - 1/255. For
    8-bit values both limits select the same pixels.

    Args:
        x: images (N, C, H, W) of 8-bit values mapped to [-1, 1].
        mean: mean of the distribution, of x's shape.
        log_var: log of its variance, of x's shape.
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
