"""Blocks compared seed by seed: differences and ratios, with t intervals and t tests.

Two runs of one seed share batches, noise and the noise that samples start from. So blocks are
compared seed by seed: what a pair has in common cancels in its difference. A metric on a log scale
(FID) is compared by the differences of its logarithms, which are ratios. `scipy.special` has the t
distribution and imports in half of the time that `scipy.stats` takes.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Scale = Literal["log", "linear"]

ALPHA = 0.05
# Two blocks are equivalent if their ratio is certainly within these bounds.
EQUIVALENT = (0.95, 1.05)


class Interval(NamedTuple):
    """The ends of an interval; NaN at both if there is none."""

    low: float = math.nan
    high: float = math.nan


class Paired(NamedTuple):
    """One block beside another, over the `n` seeds that both have.

    `p_bonferroni` is at most alpha exactly if 1 is outside of the interval of the ratio (on a
    linear scale, 0 outside of the difference's).
    """

    n: int = 0
    difference: float = math.nan  # mean of `values - reference`
    difference_interval: Interval = Interval()  # of the level of the ratio's
    ratio: float = math.nan  # of the geometric means on a log scale, or else of the means
    ratio_interval: Interval = Interval()  # on a log scale
    p_value: float = math.nan  # of the paired t test on this scale, two-sided; NaN below two pairs
    p_bonferroni: float = math.nan  # `p_value` times the number of tests
    uncorrected: Interval = Interval()  # of the ratio, for a single test
    equivalent: bool = False  # the ratio is within `EQUIVALENT`: two one-sided tests at alpha


def fitting_scale(values: Values, scale: Scale) -> Scale:
    """`scale`, but "linear" if a value has no logarithm."""
    return scale if bool((values[~np.isnan(values)] > 0).all()) else "linear"


def means(values: Values, scale: Scale) -> Values:
    """The means along the last axis, geometric ones on a log scale; NaN is a missing seed."""
    if scale == "log":
        return np.exp(np.nanmean(np.log(values), axis=-1))
    return np.nanmean(values, axis=-1)


def mean_interval(values: Values, alpha: float = ALPHA) -> Interval:
    """The t interval of a mean at the level 1 - alpha; NaN for fewer than two values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return Interval()
    quantile = float(stdtrit(n - 1, 1 - alpha / 2))
    mean, half = float(values.mean()), quantile * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean - half, mean + half)


def beside(values: Values, number: int, scale: Scale, alpha: float = ALPHA) -> list[Paired]:
    """Each of (B, S) blocks beside block `number`; p values and intervals are Bonferroni-corrected.

    The number of tests is that of the other blocks that share at least two seeds with it. `scale`
    must fit the values.
    """
    there = ~np.isnan(values)
    shared = (there & there[number]).sum(axis=1)
    tests = int((np.delete(shared, number) >= 2).sum())
    return [paired(row, values[number], scale, alpha, tests) for row in values]


def paired(
    values: Values, reference: Values, scale: Scale, alpha: float = ALPHA, tests: int = 1
) -> Paired:
    """Compare (S,) values of a block with those of another, seed by seed; NaN is a missing seed."""
    both = ~(np.isnan(values) | np.isnan(reference))
    values, reference = values[both], reference[both]
    n = len(values)
    if n == 0:
        return Paired()
    differences = values - reference
    if scale == "log":
        compared = np.log(values) - np.log(reference)
        ratio = math.exp(compared.mean())
    else:
        compared, centre = differences, float(reference.mean())
        ratio = float(values.mean()) / centre if centre > 0 else math.nan
    found = Paired(n, float(differences.mean()), ratio=ratio)
    if n == 1:
        return found
    p, tests = _p_value(compared), max(1, tests)
    found = found._replace(
        difference_interval=mean_interval(differences, alpha / tests),
        p_value=p,
        p_bonferroni=min(1.0, p * tests),
    )
    if scale == "linear":
        return found
    low, high = _of_ratio(compared, 2 * alpha)
    return found._replace(
        ratio_interval=_of_ratio(compared, alpha / tests),
        uncorrected=_of_ratio(compared, alpha),
        equivalent=low >= EQUIVALENT[0] and high <= EQUIVALENT[1],
    )


def _of_ratio(logs: Values, alpha: float) -> Interval:
    """The interval of a ratio, from the differences of logarithms."""
    with np.errstate(over="ignore"):  # of two seeds, an interval may have no end
        low, high = np.exp(mean_interval(logs, alpha))
    return Interval(float(low), float(high))


def _p_value(differences: Values) -> float:
    """Of a paired t test, two-sided."""
    from scipy.special import stdtr

    n, mean = len(differences), float(differences.mean())
    error = math.sqrt(float(((differences - mean) ** 2).sum()) / (n - 1) / n)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / error))
