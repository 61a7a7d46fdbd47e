"""The verdict is calibrated, and the measurement of it would find a rule that is too liberal."""

from __future__ import annotations

import calibration
import numpy as np
import pytest
from calibration import calibrate, is_calibrated, measure_noise, reference_fids, winners
from scipy import stats

from ditbench.report.statistics import verdict

FEW = 2000


@pytest.fixture(scope="module")
def fids():
    return reference_fids()


@pytest.fixture(scope="module")
def rates(fids):
    return calibrate(fids, FEW)


def test_with_the_noise_of_the_reference_runs_the_verdict_is_calibrated(rates):
    assert is_calibrated(rates)
    for row in rates:
        assert row["wrong"] <= 0.065  # 5%, and 3 deviations of 2,000 tosses


def test_where_there_is_a_winner_it_is_found(rates):
    found = {(row["truth"], row["seeds"]): row["right"] for row in rates}
    assert found["one is 30% better", 5] > 0.9
    assert found["one is 30% better", 10] > found["one is 10% better", 10] > 0.3
    assert found["one is 30% better", 5] > found["one is 30% better", 3]


LIBERAL = {
    "a p value halved": ("paired_p_values", lambda v, r: paired_p_values(v, r) / 2),
    "always sure": ("paired_p_values", lambda v, r: np.zeros(v.shape[:-1])),
    "a normal distribution for t": (
        "paired_p_values",
        lambda v, r: 2 * stats.norm.sf(np.abs(_t(v - r))),
    ),
    "a corrected p value that forgets the largest": (
        "holm",
        lambda p: np.where(p == np.nanmax(p, axis=-1, keepdims=True), 0.0, p),
    ),
}
paired_p_values = calibration.paired_p_values


def _t(differences):
    error = differences.std(axis=-1, ddof=1) / differences.shape[-1] ** 0.5
    with np.errstate(invalid="ignore"):
        return differences.mean(axis=-1) / error


@pytest.mark.parametrize("name", LIBERAL)
def test_a_liberal_rule_is_found_out(fids, monkeypatch, name):
    monkeypatch.setattr(calibration, *LIBERAL[name])
    assert not is_calibrated(calibrate(fids, FEW))


def test_a_laxer_level_is_found_out(fids, monkeypatch):
    """At 10% a tenth of equal pairs would have a winner."""

    def lax(fids):
        with monkeypatch.context() as patch:
            patch.setattr(calibration, "ALPHA", 0.10)
            return winners(fids)

    monkeypatch.setattr(calibration, "winners", lax)
    assert not is_calibrated(calibrate(fids, FEW))


def test_of_rules_of_exactly_the_level_hardly_any_fails_however_many_rates_there_are():
    generator = np.random.default_rng(0)
    families = generator.binomial(20_000, 0.05, (200, 30))
    passed = [
        is_calibrated([{"wrong": count / 20_000, "comparisons": 20_000} for count in counts])
        for counts in families.tolist()
    ]
    assert passed.count(False) <= 10  # one in forty is expected; at 95% a rate it was half


def test_the_rule_that_is_measured_is_the_verdicts_own():
    generator = np.random.default_rng(1)
    fids = generator.lognormal(2, 0.15, (200, 3, 4)) * np.array([0.7, 1, 1])[:, None]
    named = winners(fids)
    for number, comparison in zip(named, fids, strict=True):
        winner = verdict.decide(["a", "b", "c"], comparison).winner
        assert winner == (None if number < 0 else "abc"[number])
    assert len(set(named.tolist())) > 1


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
