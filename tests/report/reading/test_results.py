import json
import os
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from damage import instead, json_key, lines, removed, replaced, shortened, write

from ditbench.errors import DitbenchError
from ditbench.report.facts import FACTS
from ditbench.report.reading.groups import differences, split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare
from ditbench.report.statistics.gate import parse_gate
from ditbench.report.tables.comparisons import render_comparisons


def test_every_value_comes_from_its_file(make_run, results):
    run = make_run("adaln", 3, (90.0, 9.5), rate=40.0, train__lr=2e-3)
    frame = load_results(results)
    assert list(frame.columns) == [*(fact.name for fact in FACTS), "fid", "kid", "label_accuracy"]
    assert frame["step"].tolist() == [600, 1200]
    assert frame["final"].tolist() == [False, True]
    last = frame.iloc[1]
    expected = {
        "preset": "digits", "block": "adaln", "seed": 3, "path": str(run.path), "schema": 2,
        # of eval.csv
        "images": 1200 * 128, "train_flops": 6e9 * 0.0034 * 128 * 1200, "seconds": 30.0,
        "fid": 9.5, "kid": 0.0095, "label_accuracy": 0.9, "features": "digits", "samples": 2000,
        "sampler": "euler", "sampling_steps": 25, "cfg_scale": 1.0, "ema_decay": 0.999,
        # of cost.json
        "model": "64x4x4/2", "input": "8x8x1", "parameters": 310_000, "gmacs": 0.0034,
        "gflops": 0.0068,
        # of result.json
        "steps": 1200, "steps_per_second": 40.0, "samples_per_second": 400.0, "device": "cpu",
        "peak_memory_bytes": 200 * 2**20, "train_seconds": 30.0, "dataset_digest": "d" * 64,
        # of config.toml
        "objective": "flow", "dataset": "digits", "batch_size": 128, "lr": 2e-3,
        "train_precision": "auto", "budget": "1,200 steps",
        # not recorded
        "backend": "", "ditbench_version": "", "torch_version": "", "features_digest": "",
    }  # fmt: skip
    assert {key: last[key] for key in expected} == expected
    assert frame.attrs["skipped"] == []
    recipe = json.loads(last["recipe"])
    assert recipe["train.weight_decay"] == 0.0
    assert not {"seed", "block", "train.lr", "budget.steps"} & recipe.keys()


@pytest.mark.parametrize(("samples", "suffix"), [(500, "500"), (10_000, "10k")])
def test_metric_columns_carry_their_sample_count(make_run, results, samples, suffix):
    run = make_run(eval__samples=samples)
    assert f"fid_{suffix}" in run.evaluations.read_text()
    frame = load_results(results)
    assert frame["fid"].tolist() == [200.0, 50.0, 8.0]
    assert set(frame["samples"]) == {samples}


def test_what_may_be_missing_is_nan(make_run, results):
    make_run(label_accuracy=None, peak_memory_bytes=None)
    frame = load_results(results)
    assert np.isnan(frame["label_accuracy"]).all()
    assert np.isnan(frame["peak_memory_bytes"]).all()


def test_a_column_of_label_accuracy_may_be_absent(make_run, results):
    path = make_run(schema=1).evaluations
    pd.read_csv(path).drop(columns="label_accuracy").to_csv(path, index=False)
    assert np.isnan(load_results(results)["label_accuracy"]).all()


def test_keys_of_other_versions_are_no_obstacle(make_run, results):
    run = make_run(schema=1)
    run.config.write_text(run.config.read_text() + "\n[renamed]\nlong_ago = 1\n")
    assert len(load_results(results)) == 3


DAMAGE = {
    "no result": (removed("result.json"), "incomplete"),
    "truncated result": (shortened("result.json", 20), "not JSON"),
    "result of another schema": (json_key("result.json", "schema", 99), "schema 99"),
    "result without steps": (json_key("result.json", "steps", None), "steps is missing"),
    "steps as text": (json_key("result.json", "steps", "1200"), "valid integer, not '1200'"),
    "seed beyond 64 bits": (json_key("result.json", "seed", 2**64), "seed: Input should be less"),
    "endless speed": (json_key("result.json", "steps_per_second", 10**400), "valid number"),
    "bad fingerprint": (json_key("result.json", "fingerprint", "abc"), "fingerprint: "),
    "another run's result": (json_key("result.json", "block", "adaln"), "result.json is of block"),
    "final of another run": (json_key("result.json", "final", {"fid_2k": 1.0}), "fid is 8.0"),
    "truncated cost": (shortened("cost.json", 5), "cost.json is not JSON"),
    "cost without model": (json_key("cost.json", "model", None), "model is missing"),
    "no config value": (replaced("config.toml", "batch_size = 128", "b = 1"), "train.batch_size"),
    "no budget": (replaced("config.toml", "steps = 1200", ""), "[budget] is not one of"),
    "two budgets": (replaced("config.toml", "steps = 1200", "steps = 1\nflops = 1"), "[budget]"),
    "endless budget": (replaced("config.toml", "steps = 1200", "flops = inf"), "finite number"),
    "broken config": (shortened("config.toml", 4), "not valid TOML"),
    "NaN fid": (replaced("eval.csv", ",50.0,", ",nan,"), "finite number, not nan"),
    "infinite fid": (replaced("eval.csv", ",50.0,", ",inf,"), "finite number, not inf"),
    "text for fid": (replaced("eval.csv", ",50.0,", ",fifty,"), "'fifty'"),
    "fid with an underscore": (replaced("eval.csv", ",50.0,", ",5_0.0,"), "'5_0.0'"),
    "no fid": (replaced("eval.csv", ",50.0,", ",,"), "fid_2k"),
    "missing column": (replaced("eval.csv", "fid_2k", "other"), "fid_2k is missing"),
    "doubled column": (replaced("eval.csv", "kid_2k", "fid_2k"), "column twice"),
    "empty eval.csv": (write("eval.csv", b""), "empty"),
    "header only": (lines("eval.csv", 1), "no evaluation"),
    "last digits lost": (shortened("eval.csv", 3), "truncated"),
    "half a row lost": (shortened("eval.csv", 30), "truncated"),
    "last row lost": (lines("eval.csv", -1), "ends at step 800 of 1200"),
    "steps out of order": (replaced("eval.csv", "\n800,", "\n300,"), "comes after"),
    "sampler changed": (replaced("eval.csv", "euler", "heun", 1), "sampler changes"),
    "eval.csv a directory": (instead("eval.csv", Path.mkdir), "cannot read eval.csv"),
    "result.json a directory": (instead("result.json", Path.mkdir), "incomplete"),
    "config.toml a directory": (instead("config.toml", Path.mkdir), None),
    "eval.csv binary": (write("eval.csv", b"\xff\xfe\x00"), "eval.csv"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_skipped_and_named_and_the_others_stay(name, make_run, results):
    damage, reason = DAMAGE[name]
    make_run("adaln", 0)
    damaged = make_run("adaln-zero", 0, schema=1)
    damage(damaged.path)
    frame = load_results(results)
    assert set(frame["block"]) == {"adaln"}
    if reason is not None:  # a directory without a config.toml is not a run directory
        ((path, message),) = frame.attrs["skipped"]
        assert path == str(damaged.path)
        assert reason in message


FILES = ["env.json", "cost.json", "train.csv", "eval.csv"]


@pytest.mark.parametrize(
    ("name", "change"),
    [*product(["config.toml", *FILES], ["edited"]), *product(FILES, ["removed"])],
)
def test_a_file_that_was_changed_after_the_run_is_found(name, change, make_run, results):
    make_run("adaln", 0)
    path = make_run("adaln-zero", 0).path / name
    if change == "edited":
        path.write_text(path.read_text().replace("1", "2", 1))
    else:
        path.unlink()
    frame = load_results(results)
    assert set(frame["block"]) == {"adaln"}
    ((_, reason),) = frame.attrs["skipped"]
    assert reason.startswith(f"{name} was changed after the run ended")


def test_runs_of_both_schemas_are_ranked_together(make_run, results):
    make_run("adaln", 0, schema=1)
    make_run("adaln-zero", 0)
    frame = load_results(results)
    assert set(frame["schema"]) == {1, 2}
    assert len(split_groups(frame)) == 1


RECALL = {"name": "recall", "title": "Recall", "direction": "higher", "unit": "", "format": ".3f",
          "version": 1, "depends_on_samples": False}  # fmt: skip
FID = {"name": "fid", "title": "FID", "direction": "lower", "format": ".2f"}


def _describe(run, *metrics):
    """Have a run describe its metrics, of which its table holds `recall` in place of accuracy."""
    run.evaluations.write_text(run.evaluations.read_text().replace("label_accuracy", "recall"))
    result = json.loads(run.result.read_text())
    run.finish({**result, "schema": 2, "metrics": list(metrics)})


def test_a_new_metric_is_read_and_shown_without_being_listed_anywhere(make_run, results):
    make_run("in-context", 0)
    _describe(make_run("adaln", 0), FID, RECALL)
    frame = load_results(results)
    assert list(frame.columns[-4:]) == ["fid", "kid", "label_accuracy", "recall"]
    recall = frame[frame["final"]].set_index("block")["recall"]
    assert recall["adaln"] == 0.9
    assert np.isnan(recall["in-context"])
    comparison = compare(frame)
    assert "| Recall ↑ |" in render_comparisons([comparison], "md", wide=True)
    rows = json.loads(render_comparisons([comparison], "json"))["groups"][0]["rows"]
    assert {row["block"]: row["recall"] for row in rows} == {"in-context": None, "adaln": 0.9}
    assert [f.reason for f in parse_gate("recall < 0.95").check(comparison)] == [
        "recall < 0.95", "recall is unknown"]  # fmt: skip


def test_another_version_of_a_metric_is_not_ranked_with_the_first(make_run, results):
    make_run("in-context", 0)
    _describe(make_run("adaln", 0), {**FID, "version": 2})
    assert differences(load_results(results)) == {"fid.version": [2, None]}


@pytest.mark.parametrize(
    "metrics",
    [[], [RECALL], [FID, FID], [FID, {**RECALL, "name": "seed"}], [FID, {**RECALL, "format": "x"}],
     [FID, {**RECALL, "direction": "up"}], [FID, {**RECALL, "name": 3}], [FID, None], [FID, "fid"],
     [FID, {**RECALL, "title": None}], [FID, {**RECALL, "title": "a\nb"}], [[]]],
)  # fmt: skip
def test_a_description_of_metrics_that_is_none_is_damage(make_run, results, metrics):
    make_run("in-context", 0)
    _describe(make_run("adaln", 0), *metrics)
    ((_, reason),) = load_results(results).attrs["skipped"]
    assert reason.startswith("result.json: ")


@pytest.mark.parametrize("name", ["seeds", "pairs", "winner", "equivalent", "p_value", "forced"])
def test_a_metric_named_like_a_column_of_the_comparison_does_no_harm(make_run, results, name):
    _describe(make_run("adaln", 0), FID, {**RECALL, "name": name})
    comparison = compare(load_results(results))
    assert comparison.sentence.startswith("Only adaln was run")
    render_comparisons([comparison], "md", wide=True)


def test_blocks_are_selected_by_name_and_by_group(make_run, results):
    for block in ("adaln", "in-context", "joint"):
        make_run(block, 0)
    for blocks in ("paper", "adaln, in-context", ["adaln", "in-context"]):
        assert set(load_results(results, blocks)["block"]) == {"adaln", "in-context"}
    with pytest.raises(DitbenchError, match="unknown block among these runs 'adaln-zero'"):
        load_results(results, "adaln,adaln-zero")
    with pytest.raises(DitbenchError, match="no block of the group 'controls'") as caught:
        load_results(results, "controls")
    assert caught.value.hint == "there are adaln, in-context, joint"


def test_of_duplicates_the_newest_is_used(make_run, results):
    old = make_run(seed=0, fids=(200.0, 11.0), name="copies/a", train__lr=5e-4)
    new = make_run(seed=0, fids=(200.0, 12.0), name="copies/b", train__lr=5e-4)
    make_run(seed=1, fids=(200.0, 13.0), name="copies/c", train__lr=5e-4)
    for first, second, fid in ((old, new, 12.0), (new, old, 11.0)):
        os.utime(first.result, (1_000, 1_000))
        os.utime(second.result, (2_000, 2_000))
        frame = load_results(results)
        assert frame[frame["final"]]["fid"].tolist() == [fid, 13.0]
        ((path, reason),) = frame.attrs["skipped"]
        assert path == str(first.path)
        assert "duplicate" in reason
        assert str(second.path) in reason


def test_of_three_duplicates_two_are_named(make_run, results):
    made = [make_run(seed=0, fids=(90.0, 10.0 + n), name=f"copies/{n}") for n in range(3)]
    for age, run in enumerate((made[1], made[2], made[0])):
        os.utime(run.result, (1_000 - age, 1_000 - age))
    frame = load_results(results)
    assert frame[frame["final"]]["fid"].tolist() == [11.0]
    assert {path for path, _ in frame.attrs["skipped"]} == {str(made[0].path), str(made[2].path)}


def test_operations_of_pandas_do_not_copy_what_was_skipped(make_run, results):
    """Deep copies of a thousand pairs, in each operation of a comparison, took seconds."""
    make_run()
    frame = load_results(results)
    assert frame[["fid"]].copy().attrs["skipped"] is frame.attrs["skipped"]


def test_one_run_directory_is_results_too(make_run):
    run = make_run()
    assert len(load_results(str(run.path))) == 3


@pytest.mark.parametrize(
    ("kind", "reason"), [("absent", "does not exist"), ("file", "is not a directory"),
                         ("empty", "no complete run"), ("only damaged", "1 skipped")]
)  # fmt: skip
def test_nothing_to_load_is_an_error_with_a_hint(kind, reason, make_run, results):
    if kind == "file":
        results.write_text("")
    elif kind == "empty":
        results.mkdir()
    elif kind == "only damaged":
        make_run().result.unlink()
    with pytest.raises(DitbenchError, match=reason) as caught:
        load_results(results)
    assert "ditbench run" in caught.value.hint
