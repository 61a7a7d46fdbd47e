"""Against scipy.stats, which the package itself does not import, and definitions written out."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ditbench.report.statistics.paired import beside, fitting_scale, mean_interval, means, paired

FIDS = st.floats(0.5, 500)


@st.composite
def pairs(draw):
    n = draw(st.integers(2, 8))
    values, reference = (np.array(draw(st.lists(FIDS, min_size=n, max_size=n))) for _ in range(2))
    # Without variation there is no t; that case is tested by hand below.
    assume(np.std(values - reference) > 1e-3)
    assume(np.std(np.log(values / reference)) > 1e-3)
    return values, reference


@given(st.lists(FIDS, min_size=2, max_size=9), st.floats(0.001, 0.5))
def test_the_interval_of_a_mean_is_scipys(values, alpha):
    assume(np.std(values) > 1e-6)
    expected = stats.ttest_1samp(values, 0).confidence_interval(1 - alpha)
    found = mean_interval(np.array(values), alpha)
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("values", [[], [3.0]])
def test_fewer_than_two_values_have_no_interval(values):
    found = mean_interval(np.array(values))
    assert np.isnan([found.low, found.high]).all()


@given(pairs(), st.floats(0.001, 0.1), st.integers(1, 13))
def test_values_are_compared_as_scipy_does(pair, alpha, tests):
    values, reference = pair
    found = paired(values, reference, "linear", alpha, tests)
    expected = stats.ttest_rel(values, reference)
    interval = expected.confidence_interval(1 - alpha / tests)
    assert found.n == len(values)
    assert found.difference == pytest.approx(np.mean(values) - np.mean(reference), abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.p_bonferroni == pytest.approx(min(1, tests * expected.pvalue), rel=1e-6, abs=1e-9)
    ends = (found.difference_interval.low, found.difference_interval.high)
    assert ends == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert found.ratio == pytest.approx(np.mean(values) / np.mean(reference), rel=1e-12)
    assert np.isnan(found.ratio_interval.low)


@given(pairs(), st.floats(0.001, 0.1), st.integers(1, 13))
def test_on_a_log_scale_ratios_are_compared_as_scipy_compares_logarithms(pair, alpha, tests):
    values, reference = pair
    found = paired(values, reference, "log", alpha, tests)
    expected = stats.ttest_rel(np.log(values), np.log(reference))
    assert found.ratio == pytest.approx(stats.gmean(values) / stats.gmean(reference))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    for interval, level in (
        (found.ratio_interval, 1 - alpha / tests),
        (found.uncorrected, 1 - alpha),
    ):
        with np.errstate(over="ignore"):
            ends = np.exp([*expected.confidence_interval(level)])
        assert [interval.low, interval.high] == pytest.approx(ends, rel=1e-6)


@given(pairs(), st.sampled_from(["log", "linear"]), st.integers(1, 13))
def test_a_corrected_p_value_and_its_interval_agree(pair, scale, tests):
    found = paired(*pair, scale, 0.05, tests)
    assume(abs(found.p_bonferroni - 0.05) > 1e-9)
    interval, none = (found.ratio_interval, 1) if scale == "log" else (found.difference_interval, 0)
    assert (found.p_bonferroni <= 0.05) == (not interval.low < none < interval.high)


@pytest.mark.parametrize(("width", "equivalent"), [(0.01, True), (0.1, False)])
@pytest.mark.parametrize(("shift", "inside"), [(0.0, True), (0.03, True), (0.08, False)])
def test_equivalence_is_two_one_sided_tests(width, equivalent, shift, inside):
    logs = shift + width * np.array([-1.0, 1.0, 0.0, 0.5, -0.5])
    found = paired(np.exp(logs), np.ones(5), "log")
    below = stats.ttest_1samp(logs, np.log(0.95), alternative="greater").pvalue
    above = stats.ttest_1samp(logs, np.log(1.05), alternative="less").pvalue
    assert found.equivalent == (max(below, above) <= 0.05)
    assert found.equivalent == (equivalent and inside)


def test_seeds_that_one_of_two_lacks_are_left_out():
    values = np.array([8.0, np.nan, 7.0, 9.5, 6.0])
    reference = np.array([10.0, 11.0, np.nan, 12.0, 9.0])
    found = paired(values, reference, "log")
    assert found == paired(values[[0, 3, 4]], reference[[0, 3, 4]], "log")
    assert found.n == 3


@pytest.mark.parametrize("values", [[np.nan, 1.0], [np.nan, np.nan]])
def test_fewer_than_two_pairs_are_no_test(values):
    found = paired(np.array(values), np.array([2.0, 2.0]), "log")
    assert np.isnan([found.p_value, found.p_bonferroni]).all()
    assert np.isnan([found.ratio_interval.low, found.difference_interval.high]).all()
    assert not found.equivalent
    assert found.n == np.isfinite(values).sum()


@pytest.mark.parametrize(("shift", "p"), [(0.0, 1.0), (0.5, 0.0)])
def test_differences_without_variation_are_certain(shift, p):
    reference = np.array([1.0, 2.0, 4.0])
    found = paired(reference + shift, reference, "linear")
    assert found.p_value == p
    assert found.difference_interval.low == found.difference_interval.high == shift


def test_equal_multiples_have_a_ratio_without_width():
    reference = np.array([10.0, 12.0, 11.0])
    interval = paired(2 * reference, reference, "log").ratio_interval
    assert (interval.low, interval.high) == pytest.approx((2, 2), abs=1e-6)


@pytest.mark.parametrize("reference", [[0.0, 0.0, 0.0], [-1.0, -2.0, -1.5], [-1.0, 1.0, 0.0]])
def test_beside_a_mean_of_0_or_less_there_is_no_ratio(reference):
    values = np.array([[1.0, 2.0, 4.0], reference])
    assert fitting_scale(values, "log") == "linear"
    found = beside(values, 1, "linear")[0]
    assert np.isnan([found.ratio, found.ratio_interval.low, found.ratio_interval.high]).all()
    assert np.isfinite([found.difference, found.p_value]).all()


def test_means_are_scipys():
    values = np.array([[1.0, 2.0, np.nan], [3.0, 5.0, 7.0]])
    assert means(values, "log") == pytest.approx(stats.gmean(values, axis=1, nan_policy="omit"))
    assert means(values, "linear") == pytest.approx([1.5, 5])


def test_only_tests_that_are_made_are_corrected_for():
    nan = np.nan
    values = np.array([[8.0, 9.0, 7.0], [11.0, 12.1, 9.9], [10.0, nan, nan], [9.0, 9.5, 7.0]])
    found = beside(values, 0, "log")
    assert [each.n for each in found] == [3, 3, 1, 3]
    assert found[1].p_bonferroni == pytest.approx(2 * found[1].p_value)


def test_corrected_intervals_are_as_wide_as_the_document_says():
    text = (Path(__file__).parents[3] / "docs/statistics.md").read_text("utf-8")
    rows = re.findall(r"^\| (3|20) \|((?: \d+\.\d \|){4})$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["3", "20"]
    for others, cells in rows:
        for n, cell in zip((3, 5, 8, 10), cells.split("|"), strict=False):
            logs = np.arange(n) / 100
            found = paired(np.exp(logs), np.ones(n), "log", tests=int(others))
            ends = np.log(found.ratio_interval.high / found.ratio) / stats.sem(logs)
            assert f"{ends:.1f}" == cell.strip()
