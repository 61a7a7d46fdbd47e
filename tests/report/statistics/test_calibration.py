"""That the self-test finds a sound rule sound and a liberal one liberal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ditbench.report.selftest import COLUMNS, is_calibrated, measure_noise, self_test, sentence
from scipy import stats

from ditbench.errors import DitbenchError
from ditbench.models.blocks import block_names
from ditbench.report import selftest, verdict
from ditbench.report.reading.results import load_results

REFERENCE = Path(__file__).parents[3] / "results" / "reference" / "digits"
FEW = 2000


@pytest.fixture(scope="module")
def reference():
    runs = load_results(REFERENCE)
    return runs[runs["block"].isin(block_names("paper"))]


@pytest.fixture(scope="module")
def rates(reference):
    return self_test(reference, FEW)


def test_on_the_reference_runs_the_verdict_is_calibrated(rates):
    assert is_calibrated(rates)
    assert sentence(rates).startswith("It is calibrated")
    assert {column.name for column in COLUMNS} == set(rates[0])
    for row in rates:
        assert row["wrong"] <= 0.065  # 5%, and 3 deviations of 2,000 tosses
        assert row["wrong_low"] <= row["wrong"] <= row["wrong_high"]


def test_where_there_is_a_winner_it_is_found(rates):
    found = {(row["truth"], row["seeds"]): row["right"] for row in rates}
    assert found["one is 30% better", 5] > 0.9
    assert found["one is 30% better", 10] > found["one is 10% better", 10] > 0.3
    assert found["one is 30% better", 5] > found["one is 30% better", 3]
    told = [row for row in rates if row["truth"].startswith(("none", "two"))]
    assert told
    assert np.isnan([row["right"] for row in told]).all()


def test_the_same_runs_give_the_same_rates(reference, rates):
    again = self_test(reference, FEW)
    assert [row["wrong"] for row in again] == [row["wrong"] for row in rates]


def test_the_interval_of_a_rate_is_clopper_and_pearsons(rates):
    for row in rates:
        count = round(row["wrong"] * row["comparisons"])
        exact = stats.binomtest(count, row["comparisons"]).proportion_ci(0.95, method="exact")
        assert (row["wrong_low"], row["wrong_high"]) == pytest.approx((exact.low, exact.high))


LIBERAL = {
    "a p value halved": ("paired_p_values", lambda v, r: verdict_p(v, r) / 2),
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
verdict_p = verdict.paired_p_values


def _t(differences):
    error = differences.std(axis=-1, ddof=1) / differences.shape[-1] ** 0.5
    with np.errstate(invalid="ignore"):
        return differences.mean(axis=-1) / error


@pytest.mark.parametrize("name", LIBERAL)
def test_a_liberal_rule_is_found_out(reference, monkeypatch, name):
    monkeypatch.setattr(verdict, *LIBERAL[name])
    rates = self_test(reference, FEW)
    assert not is_calibrated(rates)
    assert sentence(rates).startswith("IT IS NOT CALIBRATED")


def test_a_laxer_level_is_found_out(reference, monkeypatch):
    """At 10% a tenth of equal pairs would have a winner."""
    winners = selftest._winners

    def lax(fids):
        with monkeypatch.context() as patch:
            patch.setattr(selftest, "ALPHA", 0.10)
            return winners(fids)

    monkeypatch.setattr(selftest, "_winners", lax)
    assert not is_calibrated(self_test(reference, FEW))


def test_of_rules_of_exactly_the_level_hardly_any_fails_however_many_rates_there_are():
    generator = np.random.default_rng(0)
    families = generator.binomial(20_000, 0.05, (200, 30))
    passed = [
        is_calibrated([{"wrong": count / 20_000, "comparisons": 20_000} for count in counts])
        for counts in families.tolist()
    ]
    assert passed.count(False) <= 10  # one in forty is expected; at 95% a rate it was half


def test_the_array_rule_is_the_verdicts_own(reference):
    generator = np.random.default_rng(1)
    fids = generator.lognormal(2, 0.15, (200, 3, 4)) * np.array([0.7, 1, 1])[:, None]
    named = selftest._winners(fids)
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


@pytest.mark.parametrize(
    "keep",
    [
        lambda df: df[df["seed"] < 2],
        lambda df: df[df["block"] == "adaln"],
        lambda df: df[(df["seed"] % 2 == 0) == (df["block"] == "adaln")],
        lambda df: df.assign(fid=0.0),
    ],
)
def test_too_few_runs_are_an_error_with_a_hint(reference, keep):
    with pytest.raises(DitbenchError, match="nothing to resample") as caught:
        self_test(keep(reference), 10)
    assert "results/reference/digits --self-test" in caught.value.hint


def test_of_several_groups_the_largest_is_resampled(reference, rates):
    smaller = reference[reference["seed"] < 3].assign(budget="600 steps")
    both = pd.concat([smaller, reference], ignore_index=True)
    assert [row["wrong"] for row in self_test(both, FEW)] == [row["wrong"] for row in rates]
