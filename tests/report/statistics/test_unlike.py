"""Runs that must not be ranked together: refused, put into groups, or forced and marked."""

import csv
import io
import json
from itertools import product

import pytest
from scipy import stats

from ditbench.config import read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.report.facts import ALIKE, INFERRED
from ditbench.report.reading.groups import differences, split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare, compare_groups
from ditbench.report.tables.comparisons import render_comparisons

UNLIKE = {
    "dataset": {"data__name": "cifar10"},
    "dataset_digest": {"dataset_digest": "f" * 64},
    "model": {"model__depth": 8},
    "input": {"input_size": "16x16x1"},
    "objective": {"objective__name": "ddpm"},
    "features": {"metrics__features": "inception"},
    "samples": {"eval__samples": 500},
    "sampler": {"eval__sampler": "heun"},
    "sampling_steps": {"eval__sampling_steps": 50},
    "cfg_scale": {"eval__cfg_scale": 1.5},
    "budget": {"budget__steps": 2400},
    "batch_size": {"train__batch_size": 64},
    "ema_decay": {"train__ema_decay": 0.99},
    "train_precision": {"train__precision": "bf16"},
    "train.weight_decay": {"train__weight_decay": 0.1},
    "model.class_dropout_prob": {"model__class_dropout_prob": 0.2},
}
BY_HAND = {
    "features_digest": "e" * 64,
    "curve_sampling_steps": 7,
    "evaluation": "cfg1.5-euler25-1k-digits",
}


def test_each_key_that_must_be_alike_is_tested():
    assert {key for key in UNLIKE if "." not in key} | set(BY_HAND) == set(ALIKE)


@pytest.fixture(params=[*UNLIKE, *BY_HAND])
def unlike(request, make_run, results):
    """Two runs that differ in one key, and the key."""
    key = request.param
    make_run("adaln", 0, name="a")
    make_run("adaln-zero", 0, name="b", **UNLIKE.get(key, {}))
    frame = load_results(results)
    if key in BY_HAND:
        frame.loc[frame["block"] == "adaln-zero", key] = BY_HAND[key]
    return key, frame


def test_runs_that_are_not_comparable_are_refused_by_name(unlike):
    key, frame = unlike
    assert list(differences(frame)) == [key]
    with pytest.raises(DitbenchError, match=rf"differ in {key} \(") as caught:
        compare(frame)
    assert "force=True" in caught.value.hint
    assert "split_groups" in caught.value.hint


def test_runs_that_are_not_comparable_get_groups_with_headings(unlike):
    key, frame = unlike
    first, second = compare_groups(frame)
    found = [group.table["block"].tolist() for group in (first, second)]
    assert found == [["adaln"], ["adaln-zero"]]
    assert list(first.apart) == list(second.apart) == [key]
    assert first.apart != second.apart
    assert first.heading != second.heading
    for group in (first, second):
        assert group.heading == group.apart_in_words
        assert group.forced == {}
        assert group.sentence.startswith(f"Only {group.table['block'].item()} was run")


@pytest.mark.parametrize(
    "unlike", ["model", "features_digest", "train.weight_decay"], indirect=True
)
def test_runs_that_are_not_comparable_can_be_forced_and_are_marked_everywhere(unlike):
    key, frame = unlike
    comparison = compare(frame, force=True)
    assert list(comparison.forced) == [key]
    assert comparison.heading.startswith(f"FORCED, runs differ in {key} (")
    assert comparison.sentence.startswith("Forced: ")
    (group,) = json.loads(render_comparisons([comparison], "json"))["groups"]
    assert group["verdict"] == {
        "leader": None, "winner": None, "sentence": comparison.sentence, "rivals": [],
    }  # fmt: skip
    assert [(row["forced"], row["winner"]) for row in group["rows"]] == [(key, False)] * 2
    rows = csv.DictReader(io.StringIO(render_comparisons([comparison], "csv")))
    assert [row["forced"] for row in rows] == [key] * 2
    assert render_comparisons([comparison], "md").startswith("**FORCED, runs differ in ")
    latex = render_comparisons([comparison], "latex")
    printed = [line for line in latex.splitlines() if not line.startswith("%")]
    mark = key.replace("_", r"\_")
    assert any(line.endswith(rf"{{Forced: runs differ in {mark}}} \\") for line in printed)


def test_a_forced_ranking_infers_nothing_even_with_many_seeds(make_run, results):
    for seed in range(5):
        make_run("in-context", seed, (200.0, 20.0 + seed))
        make_run("adaln", seed, (200.0, 5.0 + seed), budget__steps=2400)
    comparison = compare(load_results(results), force=True)
    assert comparison.verdict is None
    assert comparison.table[list(INFERRED)].isna().all(axis=None)
    ratio = stats.gmean([5, 6, 7, 8, 9]) / stats.gmean([20, 21, 22, 23, 24])
    assert comparison.table["fid_ratio"].tolist() == pytest.approx([ratio, 1])
    assert comparison.table["steps"].tolist() == [2400, 1200]
    for kind in ("md", "latex"):
        text = render_comparisons([comparison], kind)
        assert "Bonferroni" not in text
        assert "CI" not in text
        assert "leads" not in text


def test_forced_rows_of_one_block_say_which_configuration_they_are(make_run, results):
    for steps in (1200, 2400):
        for rate in (1e-3, 2e-3):
            for seed in (0, 1):
                make_run("adaln", seed, (90.0, 9.0), budget__steps=steps, train__lr=rate)
    make_run("in-context", 0)
    frame = load_results(results)
    comparison = compare(frame, force=True)
    blocks = comparison.table["block"]
    assert blocks.is_unique
    settings = product(("1,200", "2,400"), (1e-3, 2e-3))
    expected = (f"adaln ({steps} steps, lr {rate})" for steps, rate in settings)
    assert set(blocks) == {"in-context", *expected}
    assert set(comparison.table["seeds"]) == {1, 2}
    assert set(frame["block"]) == {"adaln", "in-context"}  # what was given is left as it was


def _with_fingerprint(run, fingerprint, table="[future]\nkey = 1"):
    # Of a version that knows more than this one: what it makes of a configuration is not known.
    run.config.write_text(f"{run.config.read_text()}\n{table}\n")
    run.finish({**json.loads(run.result.read_text()), "fingerprint": fingerprint * 64})


def test_configurations_that_differ_in_nothing_shown_are_named_by_fingerprint(make_run, results):
    for fingerprint in "ab":
        for seed in (0, 1):
            _with_fingerprint(make_run("adaln", seed, name=f"{fingerprint}{seed}"), fingerprint)
    frame = load_results(results)
    with pytest.raises(DitbenchError, match=r"differ in fingerprint \(aaaaaaaa, bbbbbbbb\)"):
        compare(frame)
    headings = [group.heading for group in compare_groups(frame)]
    assert headings == ["fingerprint aaaaaaaa", "fingerprint bbbbbbbb"]
    named = set(compare(frame, force=True).table["block"])
    assert named == {f"adaln ({heading})" for heading in headings}


def test_fingerprints_are_shown_beside_other_differences_too(make_run, results):
    for fingerprint, steps in (("a", 1200), ("b", 1200), ("c", 2400)):
        run = make_run("adaln", 0, name=fingerprint, budget__steps=steps)
        _with_fingerprint(run, fingerprint)
    frame = load_results(results)
    headings = [group.heading for group in compare_groups(frame)]
    assert len(set(headings)) == len(headings) == 3
    assert compare(frame, force=True).table["block"].is_unique


def test_unlike_runs_of_one_fingerprint_are_not_averaged_as_seeds(make_run, results):
    """A folder of images that changed: the configuration is the same, what it names is not."""
    make_run("adaln", 0, (90.0, 9.0), dataset_digest="a" * 64)
    make_run("adaln", 1, (90.0, 5.0), dataset_digest="b" * 64)
    comparison = compare(load_results(results), force=True)
    assert comparison.table["fid"].tolist() == [5.0, 9.0]
    names = [f"adaln (dataset digest {letter * 8})" for letter in "ba"]
    assert comparison.table["block"].tolist() == names


def test_a_key_that_one_side_leaves_unset_sets_it_apart_too(make_run, results):
    make_run("adaln", 0, name="a")
    other = make_run("adaln", 0, name="b")
    _with_fingerprint(other, "c", "[new]\nswitch = true")
    frame = load_results(results)
    found = [group.apart_in_words for group in compare_groups(frame)]
    assert found == ["new.switch unset", "new.switch True"]
    labels = compare(frame, force=True).table["block"]
    assert set(labels) == {"adaln (new.switch unset)", "adaln (new.switch True)"}


def test_a_group_without_the_baseline_has_its_own(make_run, results):
    make_run("in-context", 0)
    make_run("adaln", 0)
    make_run("adaln", 0, budget__steps=2400)
    frame = load_results(results)
    baselines = {group.apart["budget"]: group.baseline for group in compare_groups(frame)}
    assert baselines == {"1,200 steps": "in-context", "2,400 steps": "adaln"}
    with pytest.raises(DitbenchError, match="unknown baseline 'adaln-zero'"):
        compare_groups(frame, "adaln-zero")
    with pytest.raises(DitbenchError, match="no runs"):
        compare_groups(frame.iloc[:0])


@pytest.mark.parametrize(
    ("key", "amount", "budget"), [("flops", "5e16", "50 PFLOPs"), ("seconds", "600.0", "10 min")]
)
def test_a_budget_of_compute_or_time_is_a_budget(make_run, results, key, amount, budget):
    run = make_run("adaln", 0)
    run.config.write_text(run.config.read_text().replace("steps = 1200", f"{key} = {amount}"))
    fingerprint = validate(read_toml(run.config)).fingerprint
    result = json.loads(run.result.read_text())
    run.finish({**result, "fingerprint": fingerprint})
    make_run("adaln-zero", 0)
    with pytest.raises(DitbenchError, match="differ in budget") as caught:
        compare(load_results(results))
    assert budget in caught.value.message
    assert "1,200 steps" in caught.value.message


def test_two_configurations_of_one_block_are_never_averaged_as_seeds(make_run, results):
    for lr in (1e-3, 4e-3):
        for block in ("adaln", "adaln-zero"):
            make_run(block, 0, (200.0, 1e4 * lr), train__lr=lr)
    frame = load_results(results)
    with pytest.raises(DitbenchError, match=r"differ in lr \(0\.00., 0\.00.\)"):
        compare(frame)
    groups = [compare(group) for group in split_groups(frame)]
    assert sorted(group.group["lr"] for group in groups) == [1e-3, 4e-3]
    assert all(len(group.table) == 2 for group in groups)
