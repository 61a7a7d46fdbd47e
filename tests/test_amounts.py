"""Sizes of files, and counts with their nouns, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.amounts import counted, file_size


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (7, "7 B"), (999, "999 B"), (1000, "1 kB"), (1_234_567, "1.23 MB"),
     (999_499, "999 kB"), (999_500, "1 MB"), (5 * 10**13, "50 TB")],
)  # fmt: skip
def test_a_size_has_three_digits(number, text):
    assert file_size(number) == text


@given(st.integers(0, 10**18))
def test_a_size_is_right_to_half_a_percent(number):
    value, unit = file_size(number).split()
    scale = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18}[unit]
    assert float(value) * scale == pytest.approx(number, rel=0.00501)


@pytest.mark.parametrize(
    ("number", "name", "text"),
    [(0, "run", "0 runs"), (1, "run", "1 run"), (1_200, "run", "1,200 runs"),
     (1, "class", "1 class"), (2, "class", "2 classes")],
)  # fmt: skip
def test_a_count_has_the_noun_in_its_number(number, name, text):
    assert counted(number, name) == text
