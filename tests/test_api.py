"""`import ditbench`: small, lazy, torch-free."""

from pathlib import Path

import pytest

import ditbench

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "pilot" / "digits"
PAPER = ("in-context", "cross-attention", "adaln", "adaln-zero")


def test_what_the_package_offers_is_what_its_modules_have():
    from ditbench.report.reading import groups, results
    from ditbench.report.statistics import compare

    assert ditbench.load_results is results.load_results
    assert ditbench.compare is compare.compare
    assert ditbench.compare_groups is compare.compare_groups
    assert ditbench.Comparison is compare.Comparison
    assert ditbench.split_groups is groups.split_groups
    assert set(ditbench.__all__) <= set(dir(ditbench))
    for name in ditbench.__all__:
        assert getattr(ditbench, name).__doc__


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'comparee'"):
        ditbench.comparee  # noqa: B018
    assert not hasattr(ditbench, "__wrapped__")
    with pytest.raises(ImportError):
        exec("from ditbench import nothing")


def test_the_example_of_the_documentation_runs():
    runs = ditbench.load_results(REFERENCE)
    runs = runs[runs["block"].isin(PAPER)]
    assert len(runs) == 20 * runs.groupby("path").size().iloc[0]
    assert [group.baseline for group in ditbench.compare_groups(runs)] == ["in-context"]
    assert "adaln-zero wins" in ditbench.compare(runs).sentence
