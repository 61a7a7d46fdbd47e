"""Whether the order of blocks depends on the learning rate: reported only when it does."""

import pandas as pd
import pytest

from ditbench.report import remark_words
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare_groups
from ditbench.report.statistics.verdict import leaders_by_rate

FLIPPED = {
    1e-4: {"adaln": {0: 10.0, 1: 11.0}, "in-context": {0: 12.0, 1: 13.0}},
    1e-3: {"adaln": {0: 9.0, 1: 9.0}, "in-context": {0: 7.0, 1: 8.0}},
}


def order_by_rate(fids):
    rows = [
        {"lr": rate, "block": block, "seed": seed, "fid": fid, "final": True}
        for rate, blocks in fids.items()
        for block, by_seed in blocks.items()
        for seed, fid in by_seed.items()
    ]
    df = pd.DataFrame(rows, columns=["lr", "block", "seed", "fid", "final"])
    return remark_words.order_by_rate(leaders_by_rate(df))


def test_an_order_that_flips_is_reported_with_its_rates():
    assert order_by_rate(FLIPPED) == (
        "The order depends on the learning rate: at 0.0001 adaln leads, at 0.001 in-context "
        "(by mean FID, not tested for significance)."
    )


def test_rates_of_one_leader_are_listed_together():
    fids = FLIPPED | {3e-4: FLIPPED[1e-3], 5e-4: FLIPPED[1e-3]}
    assert "at 0.0001 adaln leads, at 0.0003, 0.0005 and 0.001 in-context (" in order_by_rate(fids)


@pytest.mark.parametrize(
    "fids",
    [
        {1e-4: FLIPPED[1e-4]},
        {1e-4: FLIPPED[1e-4], 1e-3: FLIPPED[1e-4]},
        # Equal at one rate: no change of places.
        {1e-4: FLIPPED[1e-4], 1e-3: {"adaln": {0: 8.0}, "in-context": {0: 8.0}}},
        # The leader of one rate was not run at the other, or alone.
        {1e-4: FLIPPED[1e-4], 1e-3: {"joint": {0: 1.0}, "in-context": {0: 8.0}}},
        {1e-4: FLIPPED[1e-4], 1e-3: {"in-context": {0: 8.0}}},
        # It leads by a seed that the other lacks, and is worse on the one that both have.
        {1e-4: FLIPPED[1e-4], 1e-3: {"adaln": {0: 7.0, 1: 20.0}, "in-context": {0: 8.0}}},
    ],
)
def test_an_order_that_does_not_flip_is_not_reported(fids):
    assert order_by_rate(fids) == ""


def _make(make_run, fids):
    for rate, blocks in fids.items():
        for block, by_seed in blocks.items():
            for seed, fid in by_seed.items():
                make_run(block, seed, (200.0, fid), train__lr=rate)


def test_each_group_of_a_comparison_says_it(make_run, results):
    _make(make_run, FLIPPED)
    comparisons = compare_groups(load_results(results))
    assert sorted(comparison.apart["lr"] for comparison in comparisons) == [1e-4, 1e-3]
    for comparison in comparisons:
        assert comparison.notes[-1] == order_by_rate(FLIPPED) != ""


def test_runs_of_another_budget_flip_nothing(make_run, results):
    _make(make_run, {1e-4: FLIPPED[1e-4]})
    for block, by_seed in FLIPPED[1e-3].items():
        for seed, fid in by_seed.items():
            make_run(block, seed, (200.0, fid), train__lr=1e-3, budget__steps=600)
    for comparison in compare_groups(load_results(results)):
        assert "The order depends" not in " ".join(comparison.notes)


def test_tuned_rates_that_differ_are_reported(make_run, results):
    make_run("adaln", train__lr=5e-4)
    make_run("in-context", train__lr=1e-3)
    (comparison,) = compare_groups(load_results(results))
    assert "Learning rates differ: in-context 0.001, adaln 0.0005." in comparison.notes
