"""Amounts and lists as people write them: what is read, and what is refused with a hint."""

import math
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ditbench.amounts import duration
from ditbench.cli.options.parse import (
    MOST_SEEDS,
    parse_blocks,
    parse_budget,
    parse_count,
    parse_flops,
    parse_seconds,
    parse_seeds,
)
from ditbench.errors import DitbenchError
from ditbench.models.registry import block_names

numbers = st.decimals(min_value="0.001", max_value="9999", places=3)
units = st.sampled_from(["", "F", "f", "FLOP", "FLOPs", " FLOPS", " F"])


@given(number=numbers, power=st.integers(0, 7), unit=units, lower=st.booleans())
def test_flops_are_read_with_every_prefix_in_either_case(number, power, unit, lower):
    text = f"{number}{['', *'kMGTPEZ'][power]}{unit}"
    text = text.lower() if lower else text.upper()
    assert parse_flops(text, "--flops") == pytest.approx(float(number) * 1e3**power, rel=1e-12)


@given(st.floats(1e-300, 1e30))
def test_a_number_of_flops_as_python_writes_it_is_read_back_exactly(number):
    assert parse_flops(repr(number), "--flops") == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50PF", 5e16), ("5e16", 5e16), ("5E16", 5e16), ("1.5e3TF", 1.5e15), ("5EF", 5e18),
     ("5E", 5e18), ("5e2E", 5e20), (" 3 TFLOPs ", 3e12), ("1_000", 1000.0)],
)  # fmt: skip
def test_flops_as_in_the_help(text, expected):
    assert parse_flops(text, "--flops") == expected


@given(hours=st.integers(0, 99), minutes=st.integers(0, 999), seconds=numbers)
def test_times_are_the_sum_of_their_parts(hours, minutes, seconds):
    text = f"{hours}h{minutes}m{seconds}s"
    expected = hours * 3600 + minutes * 60 + float(seconds)
    assert parse_seconds(text, "--time") == pytest.approx(expected, rel=1e-12)
    assert parse_seconds(f"{seconds}", "--time") == float(seconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 600), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("600", 600), ("1H 30M", 5400),
     ("1h5s", 3605), (".5", 0.5), ("0h1m", 60)],
)  # fmt: skip
def test_times_as_in_the_help(text, expected):
    assert parse_seconds(text, "--time") == expected


@given(st.floats(0.05, 1e8))
def test_a_duration_is_a_time_that_can_be_given(seconds):
    read = parse_seconds(duration(seconds), "--time")
    assert read == pytest.approx(seconds, abs=0.51 if seconds < 3600 else 60, rel=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "0s", "0h0m", "-1", "-5m", "nan", "inf", "1d", "10 parsecs", "m", "h m s",
     "1m1h", "1m 2m", "1h30", "1e3", "9" * 400, "٣"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text):
    with pytest.raises(DitbenchError, match="is not a time above 0") as raised:
        parse_seconds(text, "--time")
    assert "--time 10m" in raised.value.hint
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    ["", "0", "0PF", "-1TF", "nan", "inf", "PF", "5QF", "5 PF/s", "1e999", "1e-999", "5mm",
     "1.2.3", "9" * 400, "5e16e1", "٣F"],
)  # fmt: skip
def test_what_is_no_number_of_flops_is_refused(text):
    with pytest.raises(DitbenchError, match="is not a number of FLOPs above 0") as raised:
        parse_flops(text, "--flops")
    assert "--flops 50PF" in raised.value.hint


@pytest.mark.parametrize("parse", [parse_flops, parse_seconds, parse_count])
@given(text=st.text(max_size=12))
def test_any_text_is_an_amount_or_a_line_for_people(parse, text):
    with suppress(DitbenchError):
        assert 0 < parse(text, "--option") < math.inf


@given(st.integers(1, 10**12), st.sampled_from([("", 1), ("k", 10**3), ("M", 10**6)]))
def test_counts_have_multiples(number, multiple):
    letter, factor = multiple
    assert parse_count(f"{number}{letter}", "--steps") == number * factor


def test_a_command_has_one_budget():
    assert parse_budget(None, None, None) == {}
    assert parse_budget("20k", None, None) == {"budget.steps": 20_000}
    assert parse_budget(None, "50PF", None) == {"budget.flops": 5e16}
    assert parse_budget(None, None, "10m") == {"budget.seconds": 600.0}
    with pytest.raises(DitbenchError, match="--steps and --time are given together"):
        parse_budget("1", None, "1")


@given(st.integers(1, MOST_SEEDS))
def test_one_number_is_a_count_of_seeds(count):
    assert parse_seeds(str(count)) == list(range(count))


def test_no_seeds_at_all_is_seed_0():
    assert parse_seeds("0") == [0]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, unique=True), st.booleans())
def test_numbers_with_commas_are_seeds(seeds, trailing):
    assume(trailing or len(seeds) > 1)
    assert parse_seeds(",".join(map(str, seeds)) + ("," if trailing else "")) == seeds


@pytest.mark.parametrize(
    ("text", "hint"), [("20000", "--seeds 20000,"), ("10001", "--seeds 10001,")]
)
def test_a_count_of_seeds_that_makes_no_sense_names_the_other_meaning(text, hint):
    with pytest.raises(DitbenchError, match=f"--seeds {text} is a count of seeds") as raised:
        parse_seeds(text)
    assert hint in raised.value.hint


@pytest.mark.parametrize("text", ["", ",", "a", "-1", "1,,2", "1,a", "1.5", "1,2,,", "-1,", "0-5"])
def test_what_is_no_list_of_seeds_is_refused(text):
    with pytest.raises(DitbenchError, match="is not a list of whole numbers") as raised:
        parse_seeds(text)
    assert "--seeds 0,1,2" in raised.value.hint


def test_blocks_are_names_and_groups_each_block_once():
    assert parse_blocks("all") == block_names()
    assert parse_blocks("adaln") == ["adaln"]
    assert parse_blocks("none, paper ,adaln-zero") == ["none", *block_names("paper")]


@pytest.mark.parametrize(("text", "near"), [("papper", "paper"), ("adaln-lra", "adaln-lora")])
def test_an_unknown_block_or_group_offers_the_nearest(text, near):
    with pytest.raises(DitbenchError, match=f"unknown block '{text}'") as raised:
        parse_blocks(f"adaln,{text}")
    assert near in raised.value.hint
