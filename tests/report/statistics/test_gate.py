"""Conditions against Python's own eval, and texts that are not conditions."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench.errors import DitbenchError
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import Comparison, compare, compare_groups
from ditbench.report.statistics.gate import parse_gate

NAN = float("nan")
COLUMNS = ("fid", "kid", "seeds")


def comparison_of(rows, baseline="base"):
    return Comparison(pd.DataFrame(rows), baseline, {}, "")


def failing(text, rows, baseline="base"):
    return [failure.block for failure in parse_gate(text).check(comparison_of(rows, baseline))]


ROWS = [
    {"block": "good", "fid": 8.0, "kid": 0.5, "seeds": 3},
    {"block": "base", "fid": 10.0, "kid": 1.0, "seeds": 3},
    {"block": "bad", "fid": 10.6, "kid": 2.0, "seeds": 2},
]

NUMBERS = st.floats(-50, 50).map(repr) | st.integers(-50, 50).map(str)
LIMITS = NUMBERS | st.just("baseline") | NUMBERS.map("{} * baseline".format)
TERMS = st.tuples(st.sampled_from(COLUMNS), st.sampled_from([">", ">=", "<", "<="]), LIMITS)


@given(
    st.lists(TERMS, min_size=1, max_size=3), st.lists(st.floats(-20, 20), min_size=6, max_size=6)
)
def test_a_condition_means_what_python_means(terms, numbers):
    rows = [
        {"block": block, **dict(zip(COLUMNS, numbers[at : at + 3], strict=True))}
        for block, at in (("base", 0), ("other", 3))
    ]
    # In Python, `baseline` is spelled out for each column.
    python = " and ".join(
        f"{column} {sign} {limit.replace('baseline', f'baseline_{column}')}"
        for column, sign, limit in terms
    )
    baseline = {f"baseline_{name}": rows[0][name] for name in COLUMNS}
    expected = [row["block"] for row in rows if eval(python, {}, baseline | row)]
    assert failing(" and ".join(map(" ".join, terms)), rows) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fid > 1.05 * baseline", ["bad"]),
        ("fid>1.05*baseline", ["bad"]),
        ("fid > baseline", ["bad"]),
        ("fid >= baseline", ["base", "bad"]),
        (" fid > 1.05 * baseline and seeds >= 3 ", []),
        ("fid > 9 and kid < .2e1", ["base"]),
        ("fid > 100", []),
    ],
)
def test_the_baseline_is_that_of_the_same_column(text, expected):
    assert failing(text, ROWS) == expected


def test_a_failure_says_what_was_compared():
    (failure,) = parse_gate("fid > 1.05 * baseline").check(comparison_of(ROWS))
    assert failure.reason == "fid > 1.05 * baseline"
    assert failure.values == {"fid": 10.6, "baseline.fid": 10.0}


@pytest.mark.parametrize("text", ["kid > 5", "fid > 100 and kid > 5"])
def test_a_missing_number_fails_and_says_so(text):
    rows = [{**ROWS[0], "kid": NAN}, ROWS[1]]
    (failure,) = parse_gate(text).check(comparison_of(rows))
    assert (failure.block, failure.reason) == ("good", "kid is unknown")


def test_a_missing_number_of_the_baseline_fails_every_row():
    rows = [ROWS[0], {**ROWS[1], "kid": NAN}]
    failures = parse_gate("kid > 2 * baseline").check(comparison_of(rows))
    assert [failure.block for failure in failures] == ["good", "base"]
    assert failures[0].reason == "baseline.kid is unknown"


def test_the_baseline_beside_itself_has_no_p_value_and_is_passed_over():
    rows = [{**ROWS[0], "p_bonferroni": 0.01}, {**ROWS[1], "p_bonferroni": NAN}]
    assert failing("p_bonferroni < 0.05 and fid > baseline", rows) == []
    assert failing("p_bonferroni < 0.05", rows) == ["good"]
    untested = [{**row, "p_bonferroni": NAN} for row in rows]
    assert failing("p_bonferroni < 0.05", untested) == ["good"]
    assert failing("p_bonferroni < 0.05", untested[1:]) == ["base"]  # nothing was tested: no pass


NOT_CONDITIONS = [
    *("", "   ", "\n", "fid", "1", "True", "fid >", "> 3", "and", "fid > 1 and", "fid > 1 and and"),
    *("fid == 3", "fid != 3", "fid => 3", "fid > kid", "fid > kid * baseline", "fid > 3 * kid"),
    *("fid > 1 or kid > 2", "not fid > 1", "8 < fid < 10", "1.05 * baseline < fid", "fid > (1)"),
    *("fid > baseline * 1.05", "fid > baseline.kid", "fid > 1e999", "fid > -1e999 * baseline"),
    *("fid > " + "9" * 400, "fid > nan", "fid > inf", "fid > 1_0", "fid > 0x10", "fid > \u0661"),
    *("fid > __import__('os').system('touch owned')", "fid.real > 1", "fid > 1; import os"),
    *("fid > 1\x00", "\x00", "fid > 1 \ud800", "fid ≥ 1", "\u202efid > 1", "fid >" + "-" * 10_000),
    *("fid > 1 and " * 5_000, "x" * 100_000, "fid > " + "(" * 100_000),
]


@pytest.mark.parametrize("text", NOT_CONDITIONS, ids=range(len(NOT_CONDITIONS)))
def test_what_is_no_condition_is_one_line_and_a_hint(text):
    with pytest.raises(DitbenchError) as caught:
        parse_gate(text)
    assert caught.value.message.isprintable()  # and so one line
    assert len(caught.value.message) < 400
    assert "--fail-if" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["block > 1", "fdi > 1", "fid > 1 and FID > 1"])
def test_a_name_that_is_no_column_is_an_error_that_names_the_nearest(text):
    with pytest.raises(DitbenchError, match="unknown column") as caught:
        parse_gate(text).check(comparison_of(ROWS))
    assert "fid" in caught.value.hint


@settings(max_examples=200)
@given(st.text(max_size=40) | st.text("fid>1 baseline.()*/+-and_[]'\"\\\n#:=,", max_size=40))
def test_any_text_is_a_condition_or_an_error(text):
    error = None
    try:
        parse_gate(text).check(comparison_of(ROWS))
    except DitbenchError as caught:
        error = caught
    assert error is None or error.message.isprintable()


def test_each_group_has_its_own_baseline(make_run, results):
    for steps, fids in ((1200, (16.0, 8.0)), (2400, (4.0, 8.0))):
        for block, fid in zip(("in-context", "adaln-zero"), fids, strict=True):
            make_run(block, 0, (200.0, fid), budget__steps=steps)
    gate = parse_gate("fid > 1.5 * baseline")
    found = {c.apart["budget"]: gate.check(c) for c in compare_groups(load_results(results))}
    assert found["1,200 steps"] == []
    assert [failure.block for failure in found["2,400 steps"]] == ["adaln-zero"]


def test_every_number_of_a_comparison_has_a_name(make_run, results):
    make_run("adaln", 0)
    comparison = compare(load_results(results), target_fid=20.0)
    for name in comparison.table.columns:
        if name not in ("block", "model"):
            parse_gate(f"{name} > 1e300").check(comparison)


def test_a_text_is_no_number(make_run, results):
    make_run("adaln", 0)
    with pytest.raises(DitbenchError, match="unknown column 'model'"):
        parse_gate("model > 1").check(compare(load_results(results)))
