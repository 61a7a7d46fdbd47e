"""The number of seeds against scipy's noncentral t distribution, and against the rule itself."""

import numpy as np
import pytest
from calibration import winners
from scipy import stats

from ditbench.report.statistics.looks import nominal_level
from ditbench.report.statistics.power import (
    MOST_SEEDS,
    planning,
    power_of_test,
    residual_deviation,
    seeds_needed,
)
from ditbench.report.statistics.verdict import decide

CASES = [(-np.log(0.9), 0.065), (-np.log(0.8), 0.065), (-np.log(0.95), 0.025)]


@pytest.mark.parametrize("seeds", [2, 3, 10, 200])
@pytest.mark.parametrize("level", [0.05, 0.019])
def test_the_power_of_a_test_is_scipys(seeds, level):
    for log_ratio, noise in CASES:
        far = log_ratio / (noise * (2 / seeds) ** 0.5)
        quantile = stats.t.isf(level / 2, seeds - 1)
        expected = stats.nct.sf(quantile, seeds - 1, far)
        assert power_of_test(seeds, log_ratio, noise, level) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("log_ratio", "noise"), CASES)
@pytest.mark.parametrize("at_hand", [0, 3])
def test_it_is_the_smallest_number_of_the_asked_power(log_ratio, noise, at_hand):
    n = seeds_needed(log_ratio, noise, 0.8, at_hand=at_hand)
    for seeds, enough in ((n, True), (n - 1, False)):
        level = nominal_level((at_hand, seeds) if at_hand and seeds > at_hand else (seeds,))
        if seeds > at_hand + 1:
            assert (power_of_test(seeds, log_ratio, noise, level) >= 0.8) == enough


@pytest.mark.parametrize(("rivals", "most"), [(1, 0.82), (3, 0.9), (13, 0.95)])
def test_with_that_many_seeds_the_rule_names_the_leader_as_often(rivals, most):
    noise, effect = 0.065, 0.05
    n = seeds_needed(-np.log(1 - effect), noise, 0.8, rivals)
    generator = np.random.default_rng(0)
    fids = np.exp(noise * generator.standard_normal((4000, rivals + 1, n)))
    fids[:, 0] *= 1 - effect
    assert 0.78 < (winners(fids) == 0).mean() < most


def test_runs_at_hand_are_a_look_and_the_answer_is_more_than_they_are():
    assert seeds_needed(1.0, 0.01, 0.8, at_hand=7) == 8
    free, spent = (seeds_needed(*CASES[0], 0.8, at_hand=n) for n in (0, 3))
    assert spent > free
    assert seeds_needed(*CASES[0], 0.8, looks=(3,)) == spent


@pytest.mark.parametrize(("log_ratio", "noise", "seeds"), [(0, 0.1, None), (0.001, 0.1, None),
                                                           (0.1, 0.0, 2)])  # fmt: skip
def test_the_extremes(log_ratio, noise, seeds):
    assert seeds_needed(log_ratio, noise, 0.8) == seeds
    assert MOST_SEEDS == 1000


def test_the_scatter_is_what_neither_block_nor_seed_explains():
    generator = np.random.default_rng(5)
    exact = generator.normal(0, 1, (4, 1)) + generator.normal(0, 1, 2000)
    logs = exact + 0.1 * generator.standard_normal((4, 2000))
    assert residual_deviation(exact) == pytest.approx(0, abs=1e-12)
    assert residual_deviation(logs) == pytest.approx(0.1, rel=0.03)
    two = logs[:2]
    assert residual_deviation(two) == pytest.approx((two[0] - two[1]).std(ddof=1) / 2**0.5)


FIDS = np.array([[8.0, 12.0, 10.0], [9.0, 10.5, 11.5], [30.0, 33.0, 31.0]])


def test_it_is_planned_for_the_rivals_that_are_not_beaten():
    names = ["a", "b", "c"]
    verdict = decide(names, FIDS)
    found = planning(verdict, names, FIDS, 60.0, "cpu")
    assert (found.leader, found.rivals, found.at_hand, found.blocks) == ("a", ("b",), 3, 3)
    assert found.noise == pytest.approx(residual_deviation(np.log(FIDS[:2])))
    low, high = verdict.rivals[0].paired.uncorrected
    assert found.nearest == pytest.approx(1 - np.exp(-min(abs(np.log([low, high])))))
    assert [row["effect"] for row in found.rows()] == [0.05, 0.1, 0.2, found.nearest]
    for row in found.rows():
        if row["seeds_80"] is not None:
            assert row["seconds_80"] == 60 * (row["seeds_80"] - 3)
        assert row["seeds_90"] is None or row["seeds_90"] >= row["seeds_80"]


def test_where_all_are_beaten_it_is_planned_for_all():
    found = planning(decide(["a", "c"], FIDS[[0, 2]]), ["a", "c"], FIDS[[0, 2]], 1.0, "cpu")
    assert found.rivals == ("c",)


@pytest.mark.parametrize("fids", [FIDS[:1], FIDS[:, :1], FIDS - 12,
                                  np.array([[8.0, 9.0, np.nan], [np.nan, 8.0, 9.0]])])  # fmt: skip
def test_without_two_shared_seeds_or_logarithms_there_is_nothing_to_plan_from(fids):
    names = ["a", "b", "c"][: len(fids)]
    assert planning(decide(names, fids), names, fids, 1.0, "cpu") is None
