"""The rule written out naively with scipy.stats, and what must not change a verdict."""

from __future__ import annotations

import re
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ditbench.report.statistics.verdict import decide
from ditbench.report.words import verdict_sentence

INFERENCE = re.compile(r"signific|interval|confiden|\bp\b|t test", re.IGNORECASE)
NAN = float("nan")


@st.composite
def comparisons(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks, seeds = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    level = generator.uniform(8, 14, (blocks, 1))
    fids = level + generator.normal(0, 1, seeds) + generator.normal(0, 0.7, (blocks, seeds))
    if draw(st.booleans()):
        gone = generator.random(fids.shape) < 0.25
        gone[np.arange(blocks), generator.integers(0, seeds, blocks)] = False
        fids[gone] = np.nan
    return fids


def winner_by_the_rule(fids):
    """The lowest mean beats each other block in a paired t test, Holm-corrected, or nobody wins."""
    means = [np.mean(row[~np.isnan(row)]) for row in fids]
    leader = int(np.argmin(means))
    p_values = []
    for block, row in enumerate(fids):
        if block == leader:
            continue
        both = ~np.isnan(row) & ~np.isnan(fids[leader])
        if both.sum() < 2 or np.mean(row[both]) < np.mean(fids[leader][both]):
            return None
        p_values.append(stats.ttest_rel(row[both], fids[leader][both]).pvalue)
    # Holm rejects them all exactly when each p value, ascending, is at most alpha / (those left).
    ascending = sorted(p_values)
    rejected = all(p <= 0.05 / (len(ascending) - i) for i, p in enumerate(ascending))
    return leader if ascending and rejected else None


@given(comparisons())
def test_the_winner_is_the_rules(fids):
    names = [f"b{number}" for number in range(len(fids))]
    verdict = decide(names, fids)
    expected = winner_by_the_rule(fids)
    assert verdict.winner == (None if expected is None else names[expected])
    means = np.nanmean(fids, axis=1)
    assert verdict.leader == names[means.argmin()]
    assert verdict.fid == pytest.approx(means.min())
    assert [rival.block for rival in verdict.rivals] == [
        names[number] for number in np.argsort(means, kind="stable")[1:]
    ]


@given(comparisons(), st.randoms())
def test_neither_the_order_of_blocks_nor_of_seeds_changes_a_verdict(fids, random):
    names = [f"b{number}" for number in range(len(fids))]
    means = np.nanmean(fids, axis=1)
    assume(len(np.unique(means)) == len(means))
    rows, columns = list(range(len(fids))), list(range(fids.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    other = decide([names[row] for row in rows], fids[rows][:, columns])
    verdict = decide(names, fids)
    assert other.winner == verdict.winner
    assert other.leader == verdict.leader
    for one, two in zip(verdict.rivals, other.rivals, strict=True):
        assert one.block == two.block
        assert one.p_holm == pytest.approx(two.p_holm, nan_ok=True)


def test_renaming_blocks_renames_the_winner():
    fids = np.array([[10.0, 11.0, 12.0], [7.0, 8.1, 9.0], [12.0, 13.2, 14.1]])
    for names in permutations("abc"):
        assert decide(list(names), fids).winner == names[1]


def test_a_lowest_mean_that_is_owed_to_other_seeds_wins_nothing():
    """Over the seeds that both have, the leader is surely the worse one."""
    leader = [20.0, 20.1, 19.9, 20.0, 5.0, 5.0, 5.0, 5.0]
    rival = [15.0, 15.0, 15.1, 14.9, NAN, NAN, NAN, NAN]
    verdict = decide(["leader", "rival"], np.array([leader, rival]))
    assert verdict.leader == "leader"
    assert verdict.winner is None
    assert "No block is significantly best: leader" in verdict_sentence(verdict, "FID-2K")


def test_a_winner_is_named_with_ratio_interval_and_p():
    fids = np.array([[8.0, 9.0, 7.0, 8.5, 7.5], [11.0, 12.4, 10.1, 11.2, 10.7]])
    text = verdict_sentence(decide(["zero", "ada"], fids), "FID-2K")
    ratio = fids[1].mean() / fids[0].mean()
    assert text.startswith(f"zero leads with a mean FID-2K of 8.00; the next, ada, has {ratio:.3g}")
    assert "95% interval" in text
    assert "paired t test over 5 seeds, p below 0.001." in text
    assert "Holm" not in text  # of one test there is nothing to correct
    assert "firmer" not in text


def test_below_five_seeds_the_verdict_says_so():
    fids = np.array([[8.0, 9.0, 7.0], [11.0, 12.1, 9.9]])
    verdict = decide(["zero", "ada"], fids)
    assert verdict.winner == "zero"
    assert "With 3 seeds, the t test assumes normally distributed differences" in verdict_sentence(
        verdict, "FID"
    )


def test_a_missing_winner_is_explained():
    fids = np.array([[8.0, 12.0, 10.0], [9.0, 10.5, 11.5], [30.0, 33.0, 31.0]])
    text = verdict_sentence(decide(["a", "b", "c"], fids), "FID-2K")
    assert text.startswith("No block is significantly best: a has the lowest mean")
    assert "b (1.03 times" in text
    assert "c (" not in text  # the difference is significant
    assert "Holm-corrected" in text


@given(st.lists(st.floats(0.1, 500), min_size=2, max_size=6))
def test_of_one_seed_nothing_is_inferred(fids):
    verdict = decide([f"block{i}" for i in range(len(fids))], np.array(fids)[:, None])
    assert verdict.winner is None
    text = verdict_sentence(verdict, "FID-2K")
    assert not INFERENCE.search(text)
    assert "One seed cannot separate a difference from noise" in text


def test_blocks_that_share_no_seed_are_said_to():
    fids = np.array([[8.0, 8.1, NAN, NAN], [NAN, NAN, 9.0, 9.1]])
    text = verdict_sentence(decide(["a", "b"], fids), "FID")
    assert "shares fewer than two seeds with b (0)" in text
    assert "One seed" not in text
    assert not INFERENCE.search(text)


def test_one_block_of_many_with_one_seed_is_named():
    fids = np.array([[8.0, 8.1, 8.2], [9.0, 9.1, 9.3], [10.0, NAN, NAN]])
    verdict = decide(["a", "b", "c"], fids)
    assert verdict.winner is None
    assert "shares fewer than two seeds with c (1)" in verdict_sentence(verdict, "FID")


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_fids_are_called_the_same_and_name_no_winner(seeds):
    verdict = decide(["a", "b"], np.full((2, seeds), 9.0))
    assert verdict.winner is None
    assert "the same" in verdict_sentence(verdict, "FID")


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("level", [0.0, -0.5])
def test_fids_of_0_or_less_have_no_ratio_to_speak_of(seeds, level):
    generator = np.random.default_rng(0)
    fids = np.stack([np.full(seeds, level), generator.normal(level + 0.1, 0.3, seeds) + 0.2])
    text = verdict_sentence(decide(["a", "b"], fids), "FID")
    assert "nan" not in text
    assert "differs by +" in text or "b (+" in text


def test_one_block_is_no_comparison():
    verdict = decide(["a"], np.array([[8.0, 9.0, 7.0]]))
    assert verdict.winner is None
    assert verdict_sentence(verdict, "FID-2K").startswith("Only a was run (FID-2K 8.00)")
