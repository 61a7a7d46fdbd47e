"""The rule written out naively with scipy.stats, and what must not change a verdict."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from said import INFERENCE, sentence_of, words_of
from scipy import stats

from ditbench.report.statistics.looks import SeedPlan, nominal_level
from ditbench.report.statistics.verdict import SPIKED, decide

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


def winner_by_the_rule(values, alpha=0.05):
    """The lowest mean beats each other block in a paired t test, or nobody wins."""
    centres = [np.mean(row[~np.isnan(row)]) for row in values]
    leader = int(np.argmin(centres))
    for block, row in enumerate(values):
        if block == leader:
            continue
        both = ~np.isnan(row) & ~np.isnan(values[leader])
        if both.sum() < 2 or np.mean(row[both]) < np.mean(values[leader][both]):
            return None
        if stats.ttest_rel(row[both], values[leader][both]).pvalue > alpha:
            return None
    return leader if len(values) > 1 else None


@given(comparisons(), st.sampled_from(["log", "linear"]), st.sampled_from([(), (3, 5)]))
def test_the_winner_is_the_rules(fids, scale, looks):
    names = [f"b{number}" for number in range(len(fids))]
    verdict = decide(names, fids, scale=scale, plan=SeedPlan(looks))
    compared = np.log(fids) if scale == "log" else fids
    expected = winner_by_the_rule(compared, nominal_level(looks))
    assert verdict.winner == (None if expected is None else names[expected])
    means = np.nanmean(compared, axis=1)
    assert verdict.leader == names[means.argmin()]
    assert verdict.value == pytest.approx(np.exp(means.min()) if scale == "log" else means.min())
    assert [rival.block for rival in verdict.rivals] == [
        names[number] for number in np.argsort(means, kind="stable")[1:]
    ]


@given(comparisons(), st.randoms())
def test_neither_the_order_of_blocks_nor_of_seeds_changes_a_verdict(fids, random):
    names = [f"b{number}" for number in range(len(fids))]
    means = np.nanmean(np.log(fids), axis=1)
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
        assert one.p_bonferroni == pytest.approx(two.p_bonferroni, nan_ok=True)


@given(comparisons(), st.sampled_from([("log", lambda v: 50 / v), ("linear", lambda v: 50 - v)]))
def test_higher_is_better_is_the_mirror_image(fids, kind):
    scale, mirror = kind
    names = [f"b{number}" for number in range(len(fids))]
    one = decide(names, fids, scale=scale)
    two = decide(names, mirror(fids), scale=scale, direction="higher")
    assert (one.leader, one.winner) == (two.leader, two.winner)
    for first, second in zip(one.rivals, two.rivals, strict=True):
        assert first.block == second.block
        assert first.p_value == pytest.approx(second.p_value, rel=1e-6, nan_ok=True)


@given(comparisons(), st.floats(0.01, 100))
def test_the_unit_of_fid_changes_nothing(fids, factor):
    names = [f"b{number}" for number in range(len(fids))]
    one, two = decide(names, fids), decide(names, factor * fids)
    assert one.winner == two.winner
    for first, second in zip(one.rivals, two.rivals, strict=True):
        assert first.paired.ratio == pytest.approx(second.paired.ratio, nan_ok=True)


def test_values_without_a_logarithm_are_compared_as_they_are():
    values = np.array([[-0.1, 0.0, -0.2], [0.5, 0.6, 0.45]])
    verdict = decide(["a", "b"], values)
    assert (verdict.scale, verdict.winner) == ("linear", "a")
    assert verdict == decide(["a", "b"], values, scale="linear")


def test_a_block_without_the_metric_is_left_out():
    values = np.array([[8.0, 9.0, 7.0], [NAN, NAN, NAN], [11.0, 12.1, 9.9]])
    verdict = decide(["a", "b", "c"], values)
    assert verdict.winner == "a"
    assert [rival.block for rival in verdict.rivals] == ["c"]


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
    assert sentence_of(verdict).startswith("No winner: leader leads with FID 10.00, ")
    assert "not distinguishable from rival (25% below, p = 1, 4 seeds)." in sentence_of(verdict)


FIVE = np.array([[8.0, 9.0, 7.0, 8.5, 7.5], [11.0, 12.4, 10.1, 11.2, 10.7]])


@given(comparisons())
def test_the_bound_of_a_winner_is_above_1_exactly_if_it_wins(fids):
    verdict = decide([f"b{number}" for number in range(len(fids))], fids)
    bounds = [rival.paired.uncorrected.low for rival in verdict.rivals]
    assume(all(abs(rival.p_value - 0.05) > 1e-9 for rival in verdict.rivals))
    assert (verdict.winner is not None) == (bool(bounds) and all(low > 1 for low in bounds))


def spikes(*counts, seeds=5):
    return np.array([[seed < count for seed in range(seeds)] for count in counts])


def test_a_block_with_fewer_spikes_than_another_does_not_win():
    fids = np.array([FIVE[0], 1.1 * FIVE[0] + [0.1, 0, 0.05, 0, 0.1]])
    for counts in ((2, 2), (2, 1)):  # it may lead in spite of spikes
        assert decide(["zero", "ada"], fids, spiked=spikes(*counts)).winner == "zero"
    for counts in ((0, 2), (1, 2)):
        verdict = decide(["zero", "ada"], fids, spiked=spikes(*counts))
        assert (verdict.best, verdict.winner) == ("zero", None)
        assert [rival.block for rival in verdict.more_spikes] == ["ada"]
        text = words_of(verdict)
        assert text.startswith("No winner: zero leads with FID ")
        assert "below ada, but loss spikes may have decided." in text
        assert f"ada had loss spikes in {counts[1]} of 5 runs, zero in {counts[0]}." in text


@given(st.floats(1.01, 2), st.integers(0, 2**32 - 1))
def test_spikes_of_a_block_that_is_further_away_than_their_effect_do_not_decide(factor, seed):
    """The rival would be significantly worse, too, if each of its FIDs were so much lower."""
    near = 8 * np.exp(np.random.default_rng(seed).normal(0, 0.03, (2, 5)))
    fids = near * np.array([1, factor])[:, None]
    verdict = decide(["zero", "ada"], fids, spiked=spikes(0, 1))
    lowered = decide(["zero", "ada"], fids / np.array([1, SPIKED])[:, None])
    (rival,) = lowered.rivals
    assume(abs(rival.p_value - 0.05) > 1e-9)
    if verdict.leader == "zero":
        assert (verdict.winner == "zero") == (lowered.winner == "zero")


def test_only_spikes_of_shared_seeds_count():
    fids = np.array([[8.0, 9.0, 7.0, NAN], [8.8, 9.9, 7.6, 9.0]])
    spiked = np.array([[False] * 4, [False, False, False, True]])
    assert decide(["zero", "ada"], fids, spiked=spiked).winner == "zero"


@given(st.lists(st.floats(0.1, 500), min_size=2, max_size=6))
def test_of_one_seed_nothing_is_inferred(fids):
    verdict = decide([f"block{i}" for i in range(len(fids))], np.array(fids)[:, None])
    assert verdict.winner is None
    text = words_of(verdict)
    assert not INFERENCE.search(text)
    assert "but one seed cannot separate a difference from noise." in text


def test_one_block_of_many_with_one_seed_is_named():
    fids = np.array([[8.0, 8.1, 8.2], [9.0, 9.1, 9.3], [10.0, NAN, NAN]])
    verdict = decide(["a", "b", "c"], fids)
    assert verdict.winner is None
    assert "shares fewer than two seeds with c (1)" in sentence_of(verdict)
