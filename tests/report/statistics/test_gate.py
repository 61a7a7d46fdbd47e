"""Conditions against Python's own eval, and texts that must never be evaluated."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import example, given, settings
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

# Conditions as a grammar: (text of --fail-if, the same for eval on plain names).
AMOUNTS = st.floats(-50, 50).map(lambda value: (repr(value), repr(value)))
NAMES = st.sampled_from(COLUMNS).map(lambda name: (name, name))
BASELINES = st.sampled_from(COLUMNS).map(lambda name: (f"baseline.{name}", f"b.{name}"))


def _both(form, *parts):
    return tuple(form.format(*(part[side] for part in parts)) for side in (0, 1))


ARITHMETIC = st.recursive(
    AMOUNTS | NAMES | BASELINES,
    lambda inner: (
        st.tuples(st.sampled_from("+-*/"), inner, inner).map(
            lambda made: _both(f"({{}} {made[0]} {{}})", *made[1:])
        )
        | inner.map(lambda part: _both("-{}", part))
    ),
    max_leaves=5,
)
SIGNS = st.sampled_from([">", ">=", "<", "<="])
COMPARED = st.tuples(SIGNS, ARITHMETIC, ARITHMETIC).map(
    lambda made: _both(f"{{}} {made[0]} {{}}", *made[1:])
) | st.tuples(SIGNS, SIGNS, ARITHMETIC, ARITHMETIC, ARITHMETIC).map(
    lambda made: _both(f"{{}} {made[0]} {{}} {made[1]} {{}}", *made[2:])
)
CONDITIONS = st.recursive(
    COMPARED,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or"]), inner, inner).map(
            lambda made: _both(f"({{}} {made[0]} {{}})", *made[1:])
        )
        | inner.map(lambda part: _both("not ({})", part))
    ),
    max_leaves=3,
)


@given(CONDITIONS, st.lists(st.floats(-20, 20), min_size=6, max_size=6))
@example(("0.0 > 0.0 > (0.0 / 0.0)",) * 2, [0.0] * 6)  # what is behind a false one is not computed
def test_a_condition_means_what_python_means(condition, numbers):
    text, python = condition
    if len(text) > 500:
        return
    rows = [
        {"block": block, **dict(zip(COLUMNS, numbers[at : at + 3], strict=True))}
        for block, at in (("base", 0), ("other", 3))
    ]
    expected = []
    for row in rows:
        names = {"b": SimpleNamespace(**rows[0]), **row}
        try:
            true = eval(python, {"__builtins__": {}}, names)
        except ZeroDivisionError:
            true = True
        if true:
            expected.append(row["block"])
    assert failing(text, rows) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fid > 1.05 * baseline", ["bad"]),
        ("fid > baseline", ["bad"]),
        ("fid >= baseline", ["base", "bad"]),
        ("1.05 * baseline < fid", ["bad"]),
        ("fid > 1.05 * baseline and seeds >= 3", []),
        ("fid < baseline or kid > 1.5 * baseline", ["good", "bad"]),
        ("kid > 0.1 * baseline.fid - 0.5", ["base", "bad"]),
        ("not fid <= 10", ["bad"]),
        ("8 < fid < 10.5", ["base"]),
        ("fid > 100", []),
    ],
)
def test_the_baseline_is_that_of_the_column_beside_it(text, expected):
    assert failing(text, ROWS) == expected


def test_a_failure_says_what_was_compared():
    (failure,) = parse_gate("fid > 1.05 * baseline").check(comparison_of(ROWS))
    assert failure.reason == "fid > 1.05 * baseline"
    assert failure.values == {"fid": 10.6, "baseline.fid": 10.0}


@pytest.mark.parametrize("text", ["kid > 5", "fid > 100 and kid > 5", "not kid < 5"])
def test_a_missing_number_fails_and_says_so(text):
    rows = [{**ROWS[0], "kid": NAN}, ROWS[1]]
    (failure,) = parse_gate(text).check(comparison_of(rows))
    assert (failure.block, failure.reason) == ("good", "kid is unknown")


@pytest.mark.parametrize("text", ["kid > 2 * baseline", "fid > baseline.kid"])
def test_a_missing_number_of_the_baseline_fails_every_row(text):
    rows = [ROWS[0], {**ROWS[1], "kid": NAN}]
    failures = parse_gate(text).check(comparison_of(rows))
    assert [failure.block for failure in failures] == ["good", "base"]
    assert failures[0].reason == "baseline.kid is unknown"


def test_only_the_number_that_is_asked_about_must_be_there():
    rows = [{**ROWS[0], "kid": NAN}, ROWS[1]]
    assert failing("fid > 20 * baseline.kid", rows) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fid / (seeds - 3) > 1", "it divides by 0"),
        ("fid * 1e308 - fid * 1e308 * 2 < 1", "too large"),
        ("fid * 1e308 - fid * 1e308 > 1", "too large"),
    ],
)
def test_what_cannot_be_computed_fails(text, reason):
    failures = parse_gate(text).check(comparison_of([ROWS[1]]))
    if "* 2" in text:  # minus infinity is below 1 or it is no number: it never passes
        assert failures
    else:
        assert reason in failures[0].reason


def test_the_baseline_beside_itself_has_no_p_value_and_is_passed_over():
    rows = [{**ROWS[0], "p_holm": 0.01}, {**ROWS[1], "p_holm": NAN}]
    assert failing("p_holm < 0.05 and fid > baseline", rows) == []
    assert failing("p_holm < 0.05", rows) == ["good"]
    untested = [{**row, "p_holm": NAN} for row in rows]
    assert failing("p_holm < 0.05", untested) == ["good"]
    assert failing("p_holm < 0.05", untested[1:]) == ["base"]  # nothing was tested: no pass


HOSTILE = [
    "",
    "   ",
    "\n",
    "fid",
    "1",
    "True",
    "fid == 3",
    "fid != 3",
    "fid is 3",
    "fid in 3",
    "fid in (1, 2)",
    "fid >",
    "fid > 1; import os",
    "fid > 1\nimport os",
    "import os",
    "fid > True",
    "fid > None",
    "fid > '1'",
    "fid > b'1'",
    "fid > 1j",
    "fid > ...",
    "fid > 2 ** 3",
    "fid > 9**9**9**9**9**9",
    "fid > 7 // 2",
    "fid > 7 % 2",
    "fid > 1 << 99",
    "fid > ~1",
    "fid > +1",
    "fid > 1e999",
    "fid > -1e999 * 0",
    "fid > " + "9" * 400,
    "fid > abs(1)",
    "fid > __import__('os').system('touch owned')",
    "__import__('os') > 1",
    "fid > [].__class__",
    "fid > fid.__class__",
    "fid.real > 1",
    "fid > baseline.fid.real",
    "fid > baseline['fid']",
    "fid > (lambda: 1)()",
    "fid > [x for x in (1,)][0]",
    "fid > (x := 3)",
    "(x := 3) > fid",
    "fid > 1 if fid else 2",
    "fid > f'{fid}'",
    "fid > *fid",
    "yield > 1",
    "await fid > 1",
    "baseline > 3",
    "baseline > baseline",
    "fid > kid * baseline",
    "fid > 1 and baseline > 2",
    "fid > 1\x00",
    "\x00",
    "fid > 1 \ud800",
    "fid ≥ 1",
    "fid > ½",
    "\u202efid > 1",
    "fid > 1" + " " * 10_000 + "and fid > 2",
    "fid > " + "(" * 240 + "1" + ")" * 240,
    "fid > " + "(" * 100_000,
    "not " * 120 + "fid",
    "fid > 1 and " * 60 + "fid > 1",
    "fid >" + "-" * 10_000 + "1",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_condition_is_one_line_and_a_hint(text, elsewhere):
    with pytest.raises(DitbenchError) as caught:
        parse_gate(text)
    assert caught.value.message.isprintable()  # and so one line
    assert len(caught.value.message) < 300
    assert "--fail-if" in caught.value.hint
    assert caught.value.exit_code == 2
    assert list(elsewhere.iterdir()) == []


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "text", ["__class__ > 1", "block > 1", "fdi > 1", "fid > baseline.__class__"]
)
def test_a_name_that_is_no_column_is_an_error_that_names_the_nearest(text):
    with pytest.raises(DitbenchError, match="unknown column") as caught:
        parse_gate(text).check(comparison_of(ROWS))
    assert "fid" in caught.value.hint


def test_as_deep_as_a_condition_may_be_it_is_evaluated():
    assert failing("fid > " + "-" * 400 + "9", ROWS) == ["base", "bad"]
    assert failing("not " * 120 + "fid > 9", ROWS) == ["base", "bad"]


@settings(max_examples=300)
@given(st.text(max_size=40) | st.text("fid>1 baseline.()*/+-andornot_[]'\"\\\n#:=,", max_size=40))
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
        if name != "block":
            parse_gate(f"{name} > 1e300").check(comparison)
