"""`import ditbench`: small, lazy, torch-free."""

import subprocess
import sys
from pathlib import Path

import pytest

import ditbench

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "digits"
PAPER = ("in-context", "cross-attention", "adaln", "adaln-zero")


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_nothing_heavy():
    run(
        "import sys, ditbench\n"
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'matplotlib', 'pydantic', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'compare' in dir(ditbench)\n"
    )


def test_loading_and_comparing_imports_no_torch():
    run(
        "import sys, ditbench\n"
        f"runs = ditbench.load_results({str(REFERENCE)!r})\n"
        f"runs = runs[runs['block'].isin({PAPER})]\n"
        "comparison = ditbench.compare(runs, target_fid=20)\n"
        "assert comparison.verdict.winner == 'adaln-zero', comparison.sentence\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy.stats'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


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
    assert "adaln-zero leads" in ditbench.compare(runs).sentence
