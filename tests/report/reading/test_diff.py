import json

import pytest

from ditbench.errors import DitbenchError
from ditbench.report.reading.results import diff_runs


def test_only_differences_are_listed(make_run):
    a = make_run("adaln", 0, name="a")
    b = make_run("adaln-zero", 3, name="b", train__lr=2e-3, model__depth=8)
    environment = {"python": "3.12", "torch": {"version": "2.9", "threads": 2}}
    b.environment.write_text(json.dumps(environment))
    assert diff_runs(a.path, str(b.path)) == [
        {"source": "config", "key": "block", "a": "adaln", "b": "adaln-zero"},
        {"source": "config", "key": "model.depth", "a": 4, "b": 8},
        {"source": "config", "key": "seed", "a": 0, "b": 3},
        {"source": "config", "key": "train.lr", "a": 1e-3, "b": 2e-3},
        {"source": "environment", "key": "python", "a": "3.11", "b": "3.12"},
        {"source": "environment", "key": "torch.threads", "a": None, "b": 2},
        {"source": "environment", "key": "torch.version", "a": None, "b": "2.9"},
    ]


def test_the_results_of_runs_are_no_difference(make_run):
    a = make_run("adaln", 0, (9.0, 8.0), name="a")
    b = make_run("adaln", 0, (7.0, 6.0), name="b", device="cuda")
    assert diff_runs(a.path, b.path) == []
    assert diff_runs(a.path, a.path) == []


def test_swapping_two_runs_swaps_the_values(make_run):
    a, b = make_run("adaln", 0, name="a"), make_run("adaln-zero", 1, name="b")
    swapped = [{**row, "a": row["b"], "b": row["a"]} for row in diff_runs(a.path, b.path)]
    assert diff_runs(b.path, a.path) == swapped


def test_a_budget_of_another_kind_is_listed_under_both_keys(make_run, results):
    a, b = make_run("adaln", 0, name="a"), make_run("adaln", 0, name="b")
    b.config.write_text(b.config.read_text().replace("steps = 1200", "flops = 5e16"))
    assert diff_runs(a.path, b.path) == [
        {"source": "config", "key": "budget.flops", "a": None, "b": 5e16},
        {"source": "config", "key": "budget.steps", "a": 1200, "b": None},
    ]


def test_a_directory_with_one_run_in_it_is_that_run(make_run, results):
    a = make_run("adaln", 0, name="x/y/a")
    assert diff_runs(results / "x", a.path) == []


@pytest.mark.parametrize(
    ("place", "reason"),
    [("none", "none does not exist"), ("file", "is not a run"), ("", "holds 2 runs")],
)
def test_what_is_not_one_run_is_an_error_with_a_hint(make_run, results, place, reason):
    a = make_run("adaln", 0, name="a")
    make_run("adaln", 1, name="b")
    (results / "file").write_text("")
    for pair in ((a.path, results / place), (results / place, a.path)):
        with pytest.raises(DitbenchError, match=reason) as caught:
            diff_runs(*pair)
        assert "name a run directory" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("config.toml", "[train", "config.toml is not valid TOML"),
        ("env.json", "{", "env.json is not JSON"),
        ("env.json", "[]", "env.json does not hold a JSON object"),
        ("env.json", None, "cannot read .*env.json"),
    ],
)
def test_a_damaged_run_is_named(make_run, file, text, reason):
    a, b = make_run("adaln", 0, name="a"), make_run("adaln", 0, name="b")
    damaged = b.path / file
    damaged.unlink() if text is None else damaged.write_text(text)
    with pytest.raises(DitbenchError, match=reason):
        diff_runs(a.path, b.path)


def test_a_run_that_is_not_complete_can_be_looked_at(make_run):
    a, b = make_run("adaln", 0, name="a"), make_run("adaln", 0, name="b")
    b.result.unlink()
    assert diff_runs(a.path, b.path) == []
