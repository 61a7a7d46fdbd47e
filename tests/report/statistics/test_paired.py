"""Against scipy.stats, which the package itself does not import, and definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from ditbench.report.statistics.paired import holm, mean_interval, paired

FIDS = st.floats(0.5, 500)


@st.composite
def pairs(draw):
    n = draw(st.integers(2, 8))
    values, reference = (np.array(draw(st.lists(FIDS, min_size=n, max_size=n))) for _ in range(2))
    # Without variation there is no t; that case is tested by hand below.
    assume(np.std(values - reference) > 1e-3)
    return values, reference


@given(st.lists(FIDS, min_size=2, max_size=9))
def test_the_interval_of_a_mean_is_scipys(values):
    assume(np.std(values) > 1e-6)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = mean_interval(np.array(values))
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("values", [[], [3.0]])
def test_fewer_than_two_values_have_no_interval(values):
    found = mean_interval(np.array(values))
    assert np.isnan([found.low, found.high]).all()


@given(pairs())
def test_a_pair_is_compared_as_scipy_does(pair):
    values, reference = pair
    found = paired(values, reference)
    expected = stats.ttest_rel(values, reference)
    interval = expected.confidence_interval(0.95)
    assert found.n == len(values)
    assert found.difference == pytest.approx(np.mean(values) - np.mean(reference), abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    ends = (found.difference_interval.low, found.difference_interval.high)
    assert ends == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)
    assert found.ratio == pytest.approx(np.mean(values) / np.mean(reference), rel=1e-12)


@given(pairs(), st.floats(0.05, 20))
def test_a_ratio_is_inside_its_interval_exactly_when_a_t_test_does_not_reject_it(pair, factor):
    values, reference = pair
    found = paired(values, reference)
    interval = found.ratio_interval
    if np.isnan(interval.low):  # the set of such ratios has no end: a small mean, a wide scatter
        assert stats.ttest_1samp(reference, 0).pvalue > 0.05 - 1e-9
        return
    assert interval.low <= found.ratio <= interval.high
    for ratio in (found.ratio * factor, 1.0):
        near = min(abs(ratio - interval.low), abs(ratio - interval.high))
        scaled = values - ratio * reference
        if near > 1e-6 * (1 + ratio) and np.std(scaled) > 1e-6:
            inside = interval.low < ratio < interval.high
            assert inside == (stats.ttest_rel(values, ratio * reference).pvalue > 0.05)


def test_seeds_that_one_of_two_lacks_are_left_out():
    values = np.array([8.0, np.nan, 7.0, 9.5, 6.0])
    reference = np.array([10.0, 11.0, np.nan, 12.0, 9.0])
    found, expected = paired(values, reference), paired(values[[0, 3, 4]], reference[[0, 3, 4]])
    assert found == expected
    assert found.n == 3


@pytest.mark.parametrize("values", [[np.nan, 1.0], [np.nan, np.nan]])
def test_fewer_than_two_pairs_are_no_test(values):
    found = paired(np.array(values), np.array([2.0, 2.0]))
    assert np.isnan(found.p_value)
    assert np.isnan([found.ratio_interval.low, found.difference_interval.high]).all()
    assert found.n == np.isfinite(values).sum()


@pytest.mark.parametrize(("shift", "p"), [(0.0, 1.0), (0.5, 0.0)])
def test_differences_without_variation_are_certain(shift, p):
    reference = np.array([1.0, 2.0, 4.0])
    found = paired(reference + shift, reference)
    assert found.p_value == p
    assert found.difference_interval.low == found.difference_interval.high == shift


def test_equal_multiples_have_a_ratio_without_width():
    reference = np.array([10.0, 12.0, 11.0])
    interval = paired(2 * reference, reference).ratio_interval
    assert (interval.low, interval.high) == pytest.approx((2, 2), abs=1e-6)


@pytest.mark.parametrize("reference", [[0.0, 0.0, 0.0], [-1.0, -2.0, -1.5], [-1.0, 1.0, 0.0]])
def test_beside_a_mean_of_0_or_less_there_is_no_ratio(reference):
    found = paired(np.array([1.0, 2.0, 4.0]), np.array(reference))
    assert np.isnan([found.ratio, found.ratio_interval.low, found.ratio_interval.high]).all()
    assert np.isfinite([found.difference, found.p_value]).all()


def holm_by_definition(p_values):
    """Holm (1979): the i-th smallest of m times m - i + 1, but never below one before it."""
    tests = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    adjusted, least = [np.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(tests):
        least = max(least, min(1.0, (len(tests) - rank) * p))
        adjusted[i] = least
    return adjusted


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=7))
@example([0.01, 0.04, 0.03])
@example([0.02, 0.02, float("nan")])
def test_holm_is_its_definition(p_values):
    found = holm(np.array(p_values))
    assert found.tolist() == pytest.approx(holm_by_definition(p_values), rel=1e-12, nan_ok=True)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
