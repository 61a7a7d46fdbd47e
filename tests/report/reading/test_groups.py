"""What may be ranked together, and in which words it is said what may not."""

import json

import pandas as pd
import pytest

from ditbench.errors import DitbenchError
from ditbench.report.figures.curve import curve_figure
from ditbench.report.figures.pareto import pareto_figure
from ditbench.report.figures.samples import samples_figure
from ditbench.report.reading.groups import differences, distinctions, shared, split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare, compare_groups
from ditbench.report.words import differences_in_words, heading, name_and_value


def _blocks(groups):
    return [sorted(set(group["block"])) for group in groups]


def test_runs_that_differ_only_in_block_and_seed_are_one_group(make_run, results):
    for block in ("adaln", "in-context"):
        for seed in (0, 1):
            make_run(block, seed)
    frame = load_results(results)
    (group,) = split_groups(frame)
    pd.testing.assert_frame_equal(group, frame)
    assert differences(frame) == {}
    assert distinctions([group]) == [{}]


def test_the_order_of_groups_is_that_of_their_first_runs(make_run, results):
    for number, steps in enumerate((900, 300, 600)):
        make_run("adaln", 0, name=f"run{number}", budget__steps=steps)
    found = [group["budget"].iloc[0] for group in split_groups(load_results(results))]
    assert found == ["900 steps", "300 steps", "600 steps"]


def test_every_row_is_in_exactly_one_group(make_run, results):
    for steps in (1200, 2400):
        for rate in (1e-3, 2e-3):
            for seed in (0, 1):
                make_run("adaln", seed, budget__steps=steps, train__lr=rate)
        make_run("in-context", 0, budget__steps=steps)
    frame = load_results(results)
    groups = split_groups(frame)
    assert sorted(row for group in groups for row in group.index) == list(frame.index)
    for group in groups:
        assert group.groupby("block")["fingerprint"].nunique().max() == 1
    assert len(groups) == 4


def test_runs_of_models_with_other_switches_are_never_ranked_together(make_run, results):
    switched = [{}, {"model__qk_norm": True}, {"model__norm": "rms"}, {"model__registers": 4}]
    for switches in switched:
        for block in ("adaln", "adaln-zero"):
            make_run(block, 0, **switches)
    frame = load_results(results)
    assert _blocks(split_groups(frame)) == [["adaln", "adaln-zero"]] * 4
    assert differences(frame).keys() == {"model.qk_norm", "model.norm", "model.registers"}


def test_several_keys_are_all_named(make_run, results):
    make_run("adaln", 0, name="a")
    make_run("adaln", 0, name="b", budget__steps=600, train__weight_decay=0.1, eval__samples=500)
    found = differences(load_results(results))
    assert found == {
        "samples": [2000, 500],
        "budget": ["1,200 steps", "600 steps"],
        "train.weight_decay": [0.0, 0.1],
    }


def test_an_unlike_learning_rate_alone_parts_only_a_block_that_has_two(make_run, results):
    make_run("adaln", 0, train__lr=1e-3)
    make_run("in-context", 0, train__lr=2e-3)
    assert differences(load_results(results)) == {}
    assert "lr" not in compare(load_results(results)).group
    make_run("adaln", 0, train__lr=3e-3)
    frame = load_results(results)
    assert differences(frame) == {"lr": [1e-3, 3e-3]}
    assert _blocks(split_groups(frame)) == [["adaln"], ["adaln"], ["in-context"]]


def test_shared_facts_leave_out_what_differs(make_run, results):
    make_run("adaln", 0)
    make_run("in-context", 0, train__lr=2e-3, device="cuda")
    common = shared(load_results(results))
    assert common["dataset"] == "digits"
    assert not {"lr", "device"} & common.keys()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("batch_size", 128, "batch size 128"),
        ("train.weight_decay", 0.1, "train.weight_decay 0.1"),
        ("train.weight_decay", None, "train.weight_decay unset"),
        ("dataset_digest", "0123456789" * 6, "dataset digest 01234567"),
        ("features_digest", "", "features digest unknown"),
        ("budget", "1,200 steps", "1,200 steps"),
    ],
)
def test_a_fact_differences_in_words(key, value, text):
    assert name_and_value(key, value) == text


def test_differences_in_words():
    found = differences_in_words(
        {"budget": ["1,200 steps", "2,400 steps"], "train.ema": [None, 0.9]}
    )
    assert found == "budget (1,200 steps, 2,400 steps); train.ema (unset, 0.9)"


def test_a_heading_leaves_out_what_is_not_shared():
    assert heading({"dataset": "digits"}) == "digits; FID"
    found = heading({"dataset": "digits", "samples": 2000, "cfg_scale": 1.5})
    assert found == "digits; FID-2K, guidance 1.5"


def test_what_distinguishes_a_group_may_be_that_a_key_is_unset(make_run, results):
    make_run("adaln", 0)
    frame = load_results(results)
    other = frame.assign(recipe='{"new.key": 3}', budget="600 steps")
    keys = json.loads(frame["recipe"].iloc[0]).keys()
    first, second = distinctions([frame, other])
    assert (first["budget"], first["new.key"]) == ("1,200 steps", None)
    assert second == {"budget": "600 steps", **dict.fromkeys(keys), "new.key": 3}


CALLS = (compare, compare_groups, split_groups, curve_figure, pareto_figure, samples_figure)


@pytest.mark.parametrize("call", CALLS)
def test_runs_without_a_column_are_refused_by_its_name(make_run, results, call):
    make_run("adaln", 0)
    runs = load_results(results)
    for column in runs.columns:
        with pytest.raises(DitbenchError, match=f"lack the column {column}$") as caught:
            call(runs.drop(columns=[column]))
        assert "load_results" in caught.value.hint
    with pytest.raises(DitbenchError, match="a str is not the result of load_results"):
        call("results")
