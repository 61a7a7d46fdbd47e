"""The rule written out naively with scipy.stats, and what must not change a verdict."""

import re
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ditbench.report.statistics.looks import SeedPlan, Unplanned, nominal_level
from ditbench.report.statistics.verdict import SPIKED, decide
from ditbench.report.verdict_words import verdict_notes, verdict_sentence

INFERENCE = re.compile(r"significant|interval|confiden|\bp\b|t test", re.IGNORECASE)
NAN = float("nan")


def sentence_of(verdict, title="FID"):
    return verdict_sentence(verdict, title, f"{verdict.value:.2f}")


def words_of(verdict):
    return " ".join([sentence_of(verdict), *verdict_notes(verdict)])


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


def test_a_winner_is_named_with_how_far_it_is_interval_and_p():
    verdict = decide(["zero", "ada"], FIVE)
    test = stats.ttest_rel(*np.log(FIVE))
    first, second = stats.gmean(FIVE, axis=1)
    low, high = sorted(100 * (1 - np.exp([*test.confidence_interval()])))
    assert test.pvalue < 0.001
    assert verdict_sentence(verdict, "FID-2K", "8.00") == (
        f"zero wins: FID-2K 8.00, {100 * (1 - first / second):.0f}% below ada "
        f"(95% CI {low:.0f} to {high:.0f}%, p < 0.001, 5 seeds)."
    )
    assert verdict_notes(verdict) == []


def test_a_winner_of_several_is_that_much_better_than_each():
    fids = np.array([*FIVE, [20.0, 21.0, 19.0, 22.0, 20.0]])
    verdict = decide(["zero", "ada", "ctx"], fids)
    tests = [stats.ttest_rel(*np.log(fids[[0, other]])) for other in (1, 2)]
    bound = min(1 - np.exp(test.confidence_interval().high) for test in tests)
    assert ", the nearest of 2 (95% CI " in sentence_of(verdict)
    assert verdict_notes(verdict) == [
        f"Significantly better than each of the 2, by at least {100 * bound:.0f}% (95% "
        "confidence): paired t tests over 5 seeds, largest p < 0.001."
    ]


@given(comparisons())
def test_the_bound_of_a_winner_is_above_1_exactly_if_it_wins(fids):
    verdict = decide([f"b{number}" for number in range(len(fids))], fids)
    bounds = [rival.paired.uncorrected.low for rival in verdict.rivals]
    assume(all(abs(rival.p_value - 0.05) > 1e-9 for rival in verdict.rivals))
    assert (verdict.winner is not None) == (bool(bounds) and all(low > 1 for low in bounds))


def test_below_five_seeds_the_verdict_says_so():
    fids = np.array([[8.0, 9.0, 7.0], [11.0, 12.1, 9.9]])
    verdict = decide(["zero", "ada"], fids)
    assert verdict.winner == "zero"
    assert verdict_notes(verdict)[-1].startswith("3 seeds are few for t tests, which assume")


def test_a_missing_winner_is_explained():
    fids = np.array([[8.0, 12.0, 10.0], [9.0, 10.5, 11.5], [30.0, 33.0, 31.0]])
    verdict = decide(["a", "b", "c"], fids)
    first, second, _ = stats.gmean(fids, axis=1)
    corrected = min(1, 2 * stats.ttest_rel(*np.log(fids[:2])).pvalue)
    assert sentence_of(verdict) == (
        f"No winner: a leads with FID {first:.2f}, not distinguishable from 1 of 2, nearest b "
        f"({100 * (second / first - 1):.1f}% above, p = {corrected:.2g}, 3 seeds)."
    )
    assert verdict_notes(verdict)[0] == "`--baseline a` shows each block beside a."
    assert "--baseline" not in " ".join(verdict_notes(verdict, "a"))


def test_of_many_blocks_that_are_near_one_is_named():
    fids = np.exp(np.random.default_rng(0).normal(2, 0.1, (14, 3)))
    verdict = decide([f"b{i}" for i in range(14)], fids)
    assert f"from 13 of 13, nearest {verdict.rivals[0].block} (" in sentence_of(verdict)
    assert len(sentence_of(verdict)) < 120


def test_a_level_below_5_percent_is_explained():
    verdict = decide(["zero", "ada"], FIVE, plan=SeedPlan((3, 5)))
    text = words_of(verdict)
    assert verdict.winner == "zero"
    assert "significant at p <= 0.028: looks at 3 and 5 seeds share 5%." in text
    assert "97.2% CI" in text


@pytest.mark.parametrize(
    ("unplanned", "why"),
    [
        (Unplanned("ada", 3, 5), "ada has 3 of 5 planned seeds. To decide, repeat the same "
                                 "`ditbench run`"),
        (Unplanned("ada", 5, 3), "ada has 5 seeds where 3 were planned. To decide, plan a larger "
                                 "number at once, such as `--seeds 8`"),
        (Unplanned("ada", 2, 3, "zero"), "ada shares 2 of its 3 seeds with zero. To decide, run "),
    ],
)  # fmt: skip
def test_another_number_of_seeds_than_planned_is_exploratory(unplanned, why):
    verdict = decide(["zero", "ada"], FIVE, plan=SeedPlan((3,), unplanned))
    assert (verdict.best, verdict.winner, verdict.equivalent) == ("zero", None, ())
    text = words_of(verdict)
    assert re.match(r"No winner: zero leads with FID .* below ada, but this is exploratory: ", text)
    assert why in text
    assert not INFERENCE.search(text)


def spikes(*counts, seeds=5):
    return np.array([[seed < count for seed in range(seeds)] for count in counts])


def test_spikes_that_one_of_two_has_more_of_name_no_winner():
    fids = np.array([FIVE[0], 1.1 * FIVE[0] + [0.1, 0, 0.05, 0, 0.1]])
    assert decide(["zero", "ada"], fids, spiked=spikes(2, 2)).winner == "zero"
    for counts in ((0, 2), (2, 1)):
        verdict = decide(["zero", "ada"], fids, spiked=spikes(*counts))
        assert (verdict.best, verdict.winner) == ("zero", None)
        assert [rival.block for rival in verdict.unequal_spikes] == ["ada"]
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


def test_equivalent_blocks_are_said_to_be():
    fids = np.array([FIVE[0], FIVE[0] * [1.01, 0.99, 1.0, 1.005, 1.0], FIVE[1]])
    verdict = decide(["zero", "ada", "ctx"], fids)
    assert (verdict.winner, verdict.equivalent) == (None, ("ada",))
    text = words_of(verdict)
    assert f"Equivalent to {verdict.leader}: ada (90% interval of the ratio within 0.95" in text


@given(st.lists(st.floats(0.1, 500), min_size=2, max_size=6))
def test_of_one_seed_nothing_is_inferred(fids):
    verdict = decide([f"block{i}" for i in range(len(fids))], np.array(fids)[:, None])
    assert verdict.winner is None
    text = words_of(verdict)
    assert not INFERENCE.search(text)
    assert "but one seed cannot separate a difference from noise." in text


def test_blocks_that_share_no_seed_are_said_to():
    fids = np.array([[8.0, 8.1, NAN, NAN], [NAN, NAN, 9.0, 9.1]])
    text = words_of(decide(["a", "b"], fids))
    assert "shares fewer than two seeds with b (0)" in text
    assert "one seed" not in text
    assert not INFERENCE.search(text)


def test_one_block_of_many_with_one_seed_is_named():
    fids = np.array([[8.0, 8.1, 8.2], [9.0, 9.1, 9.3], [10.0, NAN, NAN]])
    verdict = decide(["a", "b", "c"], fids)
    assert verdict.winner is None
    assert "shares fewer than two seeds with c (1)" in sentence_of(verdict)


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_fids_are_called_equal_and_name_no_winner(seeds):
    verdict = decide(["a", "b"], np.full((2, seeds), 9.0))
    assert verdict.winner is None
    assert {1: "9.00, equal to b, but", 3: "b (equal, p = 1, 3 seeds)"}[seeds] in sentence_of(
        verdict
    )


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("level", [0.0, -0.5])
def test_fids_of_0_or_less_have_no_ratio_to_speak_of(seeds, level):
    generator = np.random.default_rng(0)
    fids = np.stack([np.full(seeds, level), generator.normal(level + 0.1, 0.3, seeds) + 0.2])
    verdict = decide(["a", "b"], fids)
    text = words_of(verdict)
    assert "nan" not in text
    far = f"{abs(verdict.rivals[0].paired.difference):.3g}"
    assert f", {far} below b" in text or f"b ({far} above, " in text


def test_one_block_is_no_comparison():
    verdict = decide(["a"], np.array([[8.0, 9.0, 7.0]]))
    assert verdict.winner is None
    assert sentence_of(verdict) == "Only a was run: FID 7.96."
    assert "adds blocks" in words_of(verdict)
