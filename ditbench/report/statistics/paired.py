"""Means, paired differences and ratios over seeds, with their t intervals; Holm's correction.

Two runs of one seed share batches, noise and the noise that samples start from. So blocks are
compared seed by seed: what a pair has in common cancels in its difference. `scipy.special` has the
t distribution and imports in a third of the time that `scipy.stats` takes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVEL = 0.95


class Interval(NamedTuple):
    """A 95% interval; NaN at both ends if there is none."""

    low: float = math.nan
    high: float = math.nan


class Paired(NamedTuple):
    """One block beside another, over the `n` seeds that both have.

    Attributes:
        difference: mean of `values - reference`, and its interval.
        ratio: mean of `values` over mean of `reference`, and its interval (Fieller 1954).
        p_value: of the paired t test, two-sided; NaN for fewer than two pairs.
    """

    n: int = 0
    difference: float = math.nan
    difference_interval: Interval = Interval()
    ratio: float = math.nan
    ratio_interval: Interval = Interval()
    p_value: float = math.nan


def mean_interval(values: Values) -> Interval:
    """The 95% t interval of a mean; NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return Interval()
    mean, half = float(values.mean()), _quantile(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean - half, mean + half)


def paired(values: Values, reference: Values) -> Paired:
    """Compare (S,) values of a block with those of another, seed by seed; NaN is a missing seed."""
    both = ~(np.isnan(values) | np.isnan(reference))
    values, reference = values[both], reference[both]
    n = len(values)
    if n == 0:
        return Paired()
    differences = values - reference
    difference, centre = float(differences.mean()), float(reference.mean())
    ratio = float(values.mean()) / centre if centre > 0 else math.nan
    if n == 1:
        return Paired(n, difference, ratio=ratio)
    interval, ratio_interval = mean_interval(differences), _ratio_interval(values, reference)
    return Paired(n, difference, interval, ratio, ratio_interval, _p_value(differences))


def holm(p_values: Values) -> Values:
    """(T,) p values corrected for their number (Holm 1979); NaN is not a test."""
    order = np.argsort(p_values)  # NaN comes last
    factors = np.count_nonzero(~np.isnan(p_values)) - np.arange(len(p_values))
    adjusted = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    result = np.empty_like(p_values)
    result[order] = adjusted
    return result


def _p_value(differences: Values) -> float:
    """Of a paired t test, two-sided."""
    from scipy.special import stdtr

    n, mean = len(differences), float(differences.mean())
    error = math.sqrt(float(((differences - mean) ** 2).sum()) / (n - 1) / n)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / error))


def _ratio_interval(values: Values, reference: Values) -> Interval:
    """Every ratio r at which a paired t test does not reject `values = r * reference`.

    At r = 1 that is the test of the difference: the interval contains 1 exactly if its p value is
    above 0.05. The ends solve a quadratic in r, which has solutions only if the mean of the
    reference is itself significantly different from 0.
    """
    n = len(values)
    covariance = np.cov(values, reference, ddof=1) * _quantile(n - 1) ** 2 / n
    top, bottom = float(values.mean()), float(reference.mean())
    a = bottom**2 - covariance[1, 1]
    b = top * bottom - covariance[0, 1]
    c = top**2 - covariance[0, 0]
    if bottom <= 0 or a <= 0:
        return Interval()
    root = math.sqrt(max(0.0, b**2 - a * c))  # below 0 only by rounding
    return Interval(float((b - root) / a), float((b + root) / a))


def _quantile(freedom: int) -> float:
    """The half-width of a 95% interval in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
