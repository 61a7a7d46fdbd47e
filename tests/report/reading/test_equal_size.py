"""Runs of models of different widths are ranked together where they are of equal size."""

from pathlib import Path

import pytest

from ditbench.report.reading.equal_size import equal_size
from ditbench.report.reading.groups import differences, groups_of, split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare, compare_groups
from ditbench.report.tables.columns import comparison_rows
from ditbench.report.tables.comparisons import render_comparisons

REFERENCE = Path(__file__).parents[3] / "results" / "reference"


@pytest.fixture
def make(make_run, results):
    """Runs of (block, hidden size, parameters, GMACs), two seeds each."""

    def frame(*runs, **settings):
        for block, width, _, _ in runs:
            for seed in (0, 1):
                make_run(block, seed, model__hidden_size=width, **settings)
        found = load_results(results)
        for block, width, parameters, gmacs in runs:
            chosen = (found["block"] == block) & found["model"].str.startswith(f"{width}x")
            found.loc[chosen, ["parameters", "gmacs"]] = parameters, gmacs
        return found

    return frame


def contents(df):
    pairs = [group[["block", "model"]].drop_duplicates() for group in split_groups(df)]
    return [sorted(map(tuple, each.to_numpy())) for each in pairs]


def test_matched_runs_are_one_group_that_says_so(make):
    df = make(("adaln-zero", 64, 1000, 1.0), ("in-context", 80, 1029, 1.7))
    assert differences(df) == {}
    (comparison,) = compare_groups(df)
    assert "digits, 8x8x1, widths of equal parameters, flow" in comparison.heading
    notes = " ".join(comparison.notes)
    assert notes.count("share draws, but not initial weights") == 1
    assert "(in-context 80x4x4/2 and adaln-zero 64x4x4/2)" in notes
    assert "times the parameters" not in notes
    assert "the multiply-accumulates of" in notes
    rows = {row["block"]: row["model"] for row in comparison_rows(comparison)}
    assert rows == {"adaln-zero": "64x4x4/2", "in-context": "80x4x4/2"}
    assert "| Model |" in render_comparisons([comparison], "md")
    assert comparison.notes == compare(df).notes


def test_equal_flops_are_an_equal_size(make):
    df = make(("adaln-zero", 64, 1000, 1.0), ("cross-attention", 60, 700, 0.98))
    assert equal_size(df) == "multiply-accumulates"
    assert len(split_groups(df)) == 1


@pytest.mark.parametrize(
    "runs",
    [
        [("adaln-zero", 64, 1000, 1.0), ("in-context", 80, 1031, 1.7)],  # 3.1%
        [("adaln-zero", 64, 1000, 1.0), ("adaln-zero", 68, 1010, 1.1)],  # two of one block
        [("adaln-zero", 64, 1000, 1.0), ("in-context", 80, 1000, 1.7), ("in-context", 84, 1, 1.7)],
    ],
)
def test_what_stays_apart(make, runs):
    df = make(*runs)
    if len(runs) == 2:
        assert equal_size(df) is None
        assert "model" in differences(df)
        assert len(split_groups(df)) == 2
    else:  # the third is of another size
        assert contents(df) == [
            [("in-context", "84x4x4/2")],
            [("adaln-zero", "64x4x4/2"), ("in-context", "80x4x4/2")],
        ]


def test_each_is_within_the_tolerance_of_one_of_them(make):
    df = make(("adaln-zero", 64, 1000, 1.0), ("in-context", 80, 1029, 1.7), ("adaln", 60, 971, 0.9))
    assert len(split_groups(df)) == 1


def test_another_depth_is_another_model(make, make_run, results):
    make_run("adaln", 0, model__hidden_size=64)
    make_run("in-context", 0, model__hidden_size=80, model__depth=2)
    df = load_results(results).assign(parameters=1000)
    assert len(split_groups(df)) == 2


def test_a_matched_group_stands_beside_the_groups_of_each_model(make):
    """The reference is in both: the others at their own width, and at the matched one."""
    df = make(
        ("adaln-zero", 64, 1000, 1.0),
        ("adaln", 64, 900, 1.0),
        ("in-context", 64, 660, 1.02),
        ("in-context", 80, 1010, 1.5),
        ("adaln", 68, 990, 1.1),
    )
    assert contents(df) == [
        [("adaln", "64x4x4/2"), ("adaln-zero", "64x4x4/2"), ("in-context", "64x4x4/2")],
        [("adaln", "68x4x4/2"), ("adaln-zero", "64x4x4/2"), ("in-context", "80x4x4/2")],
    ]
    plain, matched = groups_of(df)
    assert plain.apart == {"model": "64x4x4/2"}
    assert matched.apart == {"model": "widths of equal parameters"}


@pytest.mark.parametrize("place", ["digits", "pilot"])
def test_runs_of_one_width_are_grouped_by_their_model(place):
    df = load_results(REFERENCE / place)
    alike = [*(c for c in df.columns if c in ("dataset", "model", "objective")), "recipe", "lr"]
    groups = split_groups(df)
    assert len(groups) == df.groupby(alike).ngroups
    assert sorted(row for group in groups for row in group.index) == list(df.index)
    assert all(group["model"].nunique() == 1 for group in groups)


def test_rows_may_have_the_same_label(make):
    df = make(("adaln-zero", 64, 1000, 1.0), ("in-context", 80, 1010, 1.5), ("adaln", 64, 900, 1.0))
    again = df.set_axis([0] * len(df))
    assert contents(again) == contents(df)
