"""Planned seeds, and the 5% that are spent over looks."""

import numpy as np
import pytest
from scipy import stats

from ditbench.report.statistics.looks import SeedPlan, Unplanned, nominal_level, read_plan
from ditbench.report.statistics.verdict import decide

NAN = float("nan")


@pytest.mark.parametrize(
    ("looks", "level"), [((), 0.05), ((3,), 0.05), ((3, 5), 0.028), ((3, 5, 10), 0.019)]
)
def test_levels_are_the_known_ones(looks, level):
    assert nominal_level(looks) == pytest.approx(level, abs=5e-4)


@pytest.mark.parametrize("looks", [(2, 3), (3, 5), (3, 5, 10), (4, 5, 6, 7)])
def test_5_percent_of_growing_samples_are_rejected_at_some_look(looks):
    """scipy's t test at each look, on other samples than those that the level comes from."""
    samples = np.random.default_rng(1).standard_normal((100_000, looks[-1])) * 0.07
    least = np.min([stats.ttest_1samp(samples[:, :n], 0, axis=1).pvalue for n in looks], axis=0)
    rate = (least <= nominal_level(looks)).mean()
    assert rate == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 100_000) ** 0.5)


def test_more_looks_cost_more_and_a_late_one_nearly_as_much_as_an_independent_one():
    assert nominal_level((3, 5, 8)) < nominal_level((3, 5)) < 0.05
    assert nominal_level((2, 1000)) == pytest.approx(1 - 0.95**0.5, rel=0.02)


def blocks(**planned):
    """By block, planned numbers in the order of seeds 0, 1, ..."""
    return {name: dict(enumerate(numbers)) for name, numbers in planned.items()}


PLANS = {
    "planned at once": (blocks(a=[5] * 5, b=[5] * 5), (5,), None),
    "3, then 5": (blocks(a=[3, 3, 3, 5, 5], b=[3, 3, 3, 5, 5]), (3, 5), None),
    "a block later, with the same number": (blocks(a=[3, 3, 3], b=[3, 3, 3]), (3,), None),
    "a block later, with fewer": (blocks(a=[5] * 5, b=[3, 3, 3]), (3, 5), None),
    "unfinished": (blocks(a=[5] * 5, b=[5] * 3), (5,), Unplanned("b", 3, 5)),
    "two unfinished, one extended": (
        blocks(a=[5] * 6, b=[5] * 3, c=[5] * 4),
        (5,),
        Unplanned("a", 6, 5),
    ),
    "three unfinished": (
        blocks(a=[5] * 5, b=[5] * 3, c=[5] * 4, d=[5]),
        (5,),
        Unplanned("b", 3, 5, further=2),
    ),
    "extended, unfinished": (blocks(a=[3, 3, 3, 5]), (3, 5), Unplanned("a", 4, 5)),
    "3 seeds, then 2 more by name": (blocks(a=[3, 3, 3, 2, 2]), (2, 3), Unplanned("a", 5, 3)),
    "one seed at a time": (blocks(a=[1, 1, 1]), (), Unplanned("a", 3, 1)),
    "one at a time, then a plan": (blocks(a=[1, 1, 1, 5, 5]), (3, 5), None),
    "without records": (blocks(a=[NAN] * 3, b=[NAN] * 3), (3,), None),
    "without records, unequal": (blocks(a=[NAN] * 5, b=[NAN] * 3), (3, 5), None),
    "3 without records, then 5": (blocks(a=[NAN, NAN, NAN, 5, 5]), (3, 5), None),
    "one seed": (blocks(a=[1], b=[1]), (), None),
    "one seed without a record": (blocks(a=[NAN], b=[NAN]), (), None),
    "two plans of other seeds": (
        {"a": dict.fromkeys((0, 1, 2), 3), "b": dict.fromkeys((1, 2, 3), 3)},
        (3,),
        Unplanned("a", 2, 3, "b"),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_what_was_planned(name):
    planned, looks, unplanned = PLANS[name]
    assert read_plan(planned) == SeedPlan(looks, unplanned)


def test_adding_seeds_until_it_is_significant_names_nobody():
    """Two equal blocks, three seeds planned, one more at a time up to ten."""
    generator = np.random.default_rng(3)
    significant = named = 0
    for _ in range(300):
        fids = np.exp(0.07 * generator.standard_normal((2, 10)))
        for n in range(3, 11):
            numbers = [3, 3, 3, *[1] * (n - 3)]
            plan = read_plan(blocks(a=numbers, b=numbers))
            assert (plan.unplanned is not None) == (n > 3)
            significant += decide("ab", fids[:, :n]).winner is not None
            named += decide("ab", fids[:, :n], plan=plan).winner is not None
    assert named <= 30  # 5% of 300, and 4 deviations
    assert significant > 2 * named
