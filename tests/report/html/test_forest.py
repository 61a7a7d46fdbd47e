"""The ratios beside the table: places agree with the verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.report.html.forest import forest
from ditbench.report.statistics.verdict import decide

FIDS = st.lists(st.floats(0.1, 1e4), min_size=3, max_size=3)


@given(st.lists(FIDS, min_size=2, max_size=5))
def test_places_are_inside_and_in_order(values):
    blocks = [f"b{number}" for number in range(len(values))]
    verdict = decide(blocks, np.array(values))
    found = forest(verdict)
    places = [found.points[each.block][0] for each in verdict.rivals]
    assert places == sorted(places)
    one = found.ticks[0][1]
    assert found.points[verdict.leader] == (one, one, one)
    assert all(ratio >= one for ratio in places)
    for ratio, low, high in found.points.values():
        assert 0 <= low <= ratio <= high <= 100


def test_an_interval_that_excludes_the_leader_is_right_of_it():
    rng = np.random.default_rng(0)
    noise = np.exp(rng.normal(0, 0.02, (3, 5)))
    verdict = decide(["a", "b", "c"], np.array([[10.0], [12.0], [20.0]]) * noise)
    assert verdict.winner == "a"
    found = forest(verdict)
    assert all(found.points[block][1] > found.ticks[0][1] for block in "bc")


def test_ratios_are_on_a_log_axis():
    found = forest(decide(["a", "b", "c"], np.array([[1.0], [2.0], [4.0]])))
    a, b, c = (found.points[block][0] for block in "abc")
    assert c - b == pytest.approx(b - a, abs=0.02)
    assert dict(found.ticks)["2"] == pytest.approx(b, abs=0.02)


@pytest.mark.parametrize(
    "verdict",
    [None, decide(["a"], np.array([[1.0, 2.0]])), decide(["a", "b"], np.array([[-1.0], [2.0]]))],
    ids=["forced", "one block", "no logarithm"],
)
def test_nothing_to_draw(verdict):
    assert forest(verdict) is None


def test_without_pairs_a_rival_is_left_out():
    found = forest(decide(["a", "b", "c"], np.array([[1, np.nan], [np.nan, 2], [3, 4.0]])))
    assert set(found.points) == {"a", "c"}
