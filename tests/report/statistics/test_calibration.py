"""The verdict is calibrated, and the measurement of it would find a rule that is too liberal."""

import calibration
import numpy as np
import pytest
from calibration import calibrate, is_calibrated, measure_noise, reference_fids, winners
from scipy import stats

from ditbench.report.statistics import verdict
from ditbench.report.statistics.looks import SeedPlan

FEW = 2000


@pytest.fixture(scope="module")
def fids():
    return reference_fids()


@pytest.fixture(scope="module")
def rates(fids):
    return calibrate(fids, FEW)


@pytest.fixture(scope="module")
def of_the_rule(rates):
    return [row for row in rates if row["is_rule"]]


def test_with_the_noise_of_the_reference_runs_the_verdict_is_calibrated(of_the_rule):
    assert is_calibrated(of_the_rule)
    for row in of_the_rule:
        assert row["wrong"] <= 0.065  # 5%, and 3 deviations of 2,000 tosses


def test_what_the_rule_prevents_is_worse(rates):
    others = {
        (row["source"], row["truth"], row["seeds"]): row["wrong"]
        for row in rates
        if not row["is_rule"]
    }
    equal = "none is better"
    assert others["simulated, 5% at each look", equal, "3, 5, 10"] > 0.1
    assert others["simulated, 5% at each look", equal, "3, 4, 5, 6, 7, 8, 9, 10"] > 0.13
    assert others["simulated, spikes ignored", "one spikes", "10"] > 0.3


def test_where_there_is_a_winner_it_is_found(rates):
    found = {(row["truth"], row["blocks"], row["seeds"]): row["right"] for row in rates}
    assert found["one is 30% better", 4, "5"] > 0.9
    assert found["one is 20% better", 14, "5"] > 0.7
    assert found["one is 30% better", 4, "10"] > found["one is 10% better", 4, "10"] > 0.6
    assert found["one is 30% better", 4, "5"] > found["one is 30% better", 4, "3"] > 0.6


LIBERAL = {
    "a p value halved": lambda d: paired_p_values(d) / 2,
    "always sure": lambda d: np.zeros(d.shape[:-1]),
    "a normal distribution for t": lambda d: 2 * stats.norm.sf(np.abs(_t(d))),
    "a rival that is forgotten": lambda d: np.where(
        np.arange(d.shape[-2]) == 0, 0.0, paired_p_values(d)
    ),
}
paired_p_values = calibration.paired_p_values


def _t(differences):
    error = differences.std(axis=-1, ddof=1) / differences.shape[-1] ** 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        return differences.mean(axis=-1) / error


@pytest.mark.parametrize("name", LIBERAL)
def test_a_liberal_rule_is_found_out(fids, monkeypatch, name):
    monkeypatch.setattr(calibration, "paired_p_values", LIBERAL[name])
    assert not is_calibrated([row for row in calibrate(fids, FEW) if row["is_rule"]])


def test_a_laxer_level_is_found_out(fids, monkeypatch):
    """At 10% a tenth of equal pairs would have a winner."""

    def lax(fids, level, spiked=None):
        return winners(fids, 2 * level, spiked)

    monkeypatch.setattr(calibration, "winners", lax)
    assert not is_calibrated([row for row in calibrate(fids, FEW) if row["is_rule"]])


def test_of_rules_of_exactly_the_level_hardly_any_fails_however_many_rates_there_are():
    generator = np.random.default_rng(0)
    families = generator.binomial(20_000, 0.05, (200, 30))
    passed = [
        is_calibrated([{"wrong": count / 20_000, "comparisons": 20_000} for count in counts])
        for counts in families.tolist()
    ]
    assert passed.count(False) <= 10  # one in forty is expected; at 95% a rate it was half


@pytest.mark.parametrize("looks", [(), (3, 5)])
@pytest.mark.parametrize("with_spikes", [False, True])
def test_the_rule_that_is_measured_is_the_verdicts_own(looks, with_spikes):
    generator = np.random.default_rng(1)
    fids = generator.lognormal(2, 0.1, (300, 3, 5)) * np.array([0.7, 1, 1.2])[:, None]
    spiked = generator.random(fids.shape) < 0.1 if with_spikes else None
    plan = SeedPlan(looks)
    named = winners(fids, plan.alpha, spiked)
    for number, comparison in enumerate(fids):
        spikes = None if spiked is None else spiked[number]
        winner = verdict.decide("abc", comparison, plan=plan, spiked=spikes).winner
        assert winner == (None if named[number] < 0 else "abc"[named[number]])
    assert len(set(named.tolist())) > 1


def test_a_known_leader_is_named_as_often_as_documented():
    """Normal log FID, standard deviation 0.07: 68% of 4 blocks, 3 seeds and 30%; 71% of 14."""
    generator = np.random.default_rng(2)
    for blocks, seeds, effect, rate in ((4, 3, 0.3, 0.68), (14, 5, 0.2, 0.71)):
        fids = np.exp(0.07 * generator.standard_normal((20_000, blocks, seeds)))
        fids[:, 0] *= 1 - effect
        assert (winners(fids) == 0).mean() == pytest.approx(rate, abs=0.015)


@pytest.mark.parametrize(("seed", "residual"), [(0.2, 0.1), (0.05, 0.3), (0.0, 0.1)])
def test_the_noise_of_simulated_runs_is_measured_as_it_was_made(seed, residual):
    generator = np.random.default_rng(7)
    effects = np.log([1.0, 1.5, 0.7, 2.0])[:, None]
    logs = (
        np.log(10)
        + effects
        + seed * generator.standard_normal(4000)
        + residual * generator.standard_normal((4, 4000))
    )
    noise = measure_noise(np.exp(logs))
    assert noise.residual == pytest.approx(residual, rel=0.03)
    assert noise.seed == pytest.approx(seed, rel=0.05, abs=0.02)
    assert noise.level == pytest.approx(10 * np.exp(effects.mean()), rel=0.03)
