"""What is said of a verdict."""

import re

import numpy as np
import pytest
from said import INFERENCE, sentence_of, words_of
from scipy import stats

from ditbench.report.statistics.looks import SeedPlan, Unplanned
from ditbench.report.statistics.verdict import decide
from ditbench.report.verdict_words import verdict_notes, verdict_sentence

NAN = float("nan")
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
        (Unplanned("ada", 3, 5, further=2), "ada has 3 of 5 planned seeds, and 2 more lack some. "),
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


def test_equivalent_blocks_are_said_to_be():
    fids = np.array([FIVE[0], FIVE[0] * [1.01, 0.99, 1.0, 1.005, 1.0], FIVE[1]])
    verdict = decide(["zero", "ada", "ctx"], fids)
    assert (verdict.winner, verdict.equivalent) == (None, ("ada",))
    text = words_of(verdict)
    assert f"Equivalent to {verdict.leader}: ada (90% interval of the ratio within 0.95" in text


def test_blocks_that_share_no_seed_are_said_to():
    fids = np.array([[8.0, 8.1, NAN, NAN], [NAN, NAN, 9.0, 9.1]])
    text = words_of(decide(["a", "b"], fids))
    assert "shares fewer than two seeds with b (0)" in text
    assert "one seed" not in text
    assert not INFERENCE.search(text)


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_fids_are_called_equal_and_name_no_winner(seeds):
    verdict = decide(["a", "b"], np.full((2, seeds), 9.0))
    assert verdict.winner is None
    said = {1: "9.00, equal to b, but", 3: "b (equal, p = 1, 3 seeds)"}[seeds]
    assert said in sentence_of(verdict)


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
