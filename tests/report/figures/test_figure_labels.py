"""Where names stand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ditbench.report.figures.labels import ink, spread

_PLACES = st.lists(st.floats(0, 1), max_size=6)


@given(_PLACES, st.floats(0.01, 0.2))
def test_names_are_apart_and_keep_their_order(wanted, gap):
    places = spread(wanted, gap)
    ordered = [place for _, place in sorted(zip(wanted, places, strict=True), key=lambda p: p[0])]
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(sorted(places)))
    if len(set(wanted)) == len(wanted):
        assert ordered == sorted(places)


@pytest.mark.parametrize(
    "wanted", [[0.5, 0.5, 0.5], [0.1, 0.9, 0.5], [0.2, 0.25, 0.9, 0.3], [0.31, 0.3, 0.36, 0.5]]
)
def test_names_move_as_little_as_they_can(wanted):
    gap = 0.1
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    limits = [
        {"type": "ineq", "fun": lambda p, a=a, b=b: p[b] - p[a] - gap} for a, b in pairwise(order)
    ]

    def moved(places):
        return sum((a - b) ** 2 for a, b in zip(places, wanted, strict=True))

    best = minimize(moved, wanted, constraints=limits)
    assert spread(wanted, gap) == pytest.approx(best.x, abs=1e-4)


@pytest.mark.parametrize("colour", ["#E69F00", "#56B4E9", "#ffffff", "#000000", "#0072B2"])
def test_text_is_dark_enough_to_read(colour):
    rgb = [int(ink(colour)[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.45
