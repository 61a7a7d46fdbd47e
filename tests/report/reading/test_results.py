import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

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
        "preset": "digits",
        "block": "adaln",
        "seed": 3,
        "path": str(run.path),
        "images": 1200 * 128,
        "train_flops": 6e9 * 0.0034 * 128 * 1200,
        "seconds": 30.0,
        "fid": 9.5,
        "kid": 0.0095,
        "label_accuracy": 0.9,
        "features": "digits",
        "samples": 2000,
        "sampler": "euler",
        "sampling_steps": 25,
        "cfg_scale": 1.0,
        "ema_decay": 0.999,
        "model": "64x4x4/2",
        "input": "8x8x1",
        "parameters": 310_000,
        "gmacs": 0.0034,
        "gflops": 0.0068,
        "steps": 1200,
        "steps_per_second": 40.0,
        "samples_per_second": 400.0,
        "peak_memory_bytes": 200 * 2**20,
        "device": "cpu",
        "train_seconds": 30.0,
        "objective": "flow",
        "dataset": "digits",
        "batch_size": 128,
        "lr": 2e-3,
        "train_precision": "auto",
        "budget": "1,200 steps",
        "schema": 2,
        "backend": "",
        "ditbench_version": "",
        "torch_version": "",
        "features_digest": "",
        "dataset_digest": "d" * 64,
    }
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
    run = make_run(schema=1)
    lines = [line.split(",") for line in run.evaluations.read_text().splitlines()]
    where = lines[0].index("label_accuracy")
    text = "".join(",".join(line[:where] + line[where + 1 :]) + "\n" for line in lines)
    run.evaluations.write_text(text)
    assert np.isnan(load_results(results)["label_accuracy"]).all()


def test_keys_of_other_versions_are_no_obstacle(make_run, results):
    run = make_run(schema=1)
    run.config.write_text(run.config.read_text() + "\n[renamed]\nlong_ago = 1\n")
    assert len(load_results(results)) == 3


def _edit_json(name, **changes):
    def damage(run):
        path = run.path / name
        value = json.loads(path.read_text())
        path.write_text(json.dumps({**value, **changes}))

    return damage


def _replace(name, old, new):
    def damage(run):
        path = run.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return damage


def _truncate(name, characters):
    def damage(run):
        path = run.path / name
        path.write_text(path.read_text()[:-characters])

    return damage


def _as_directory(name):
    def damage(run):
        (run.path / name).unlink()
        (run.path / name).mkdir()

    return damage


def _without_last_row(run):
    lines = run.evaluations.read_text().splitlines(keepends=True)
    run.evaluations.write_text("".join(lines[:-1]))


DAMAGE = {
    "no result": (lambda run: run.result.unlink(), "incomplete"),
    "truncated result": (_truncate("result.json", 20), "not JSON"),
    "result of another schema": (_edit_json("result.json", schema=99), "schema 99"),
    "result without steps": (_edit_json("result.json", steps=None), "steps is missing"),
    "result with a text for steps": (
        _edit_json("result.json", steps="1200"),
        "valid integer, not '1200'",
    ),
    "seed beyond 64 bits": (_edit_json("result.json", seed=2**64), "seed: Input should be less"),
    "endless speed": (_edit_json("result.json", steps_per_second=10**400), "valid number"),
    "bad fingerprint": (_edit_json("result.json", fingerprint="abc"), "fingerprint: "),
    "another run's result": (_edit_json("result.json", block="adaln"), "result.json is of block"),
    "final of another run": (_edit_json("result.json", final={"fid_2k": 1.0}), "fid is 8.0"),
    "truncated cost": (_truncate("cost.json", 5), "cost.json is not JSON"),
    "cost without model": (_edit_json("cost.json", model=None), "model is missing"),
    "no config value": (_replace("config.toml", "batch_size = 128", "b = 1"), "train.batch_size"),
    "no budget": (_replace("config.toml", "steps = 1200", ""), "[budget] is not one of"),
    "two budgets": (_replace("config.toml", "steps = 1200", "steps = 1\nflops = 1"), "[budget]"),
    "endless budget": (_replace("config.toml", "steps = 1200", "flops = inf"), "finite number"),
    "broken config": (_truncate("config.toml", 4), "not valid TOML"),
    "NaN fid": (_replace("eval.csv", ",50.0,", ",nan,"), "finite number, not nan"),
    "infinite fid": (_replace("eval.csv", ",50.0,", ",inf,"), "finite number, not inf"),
    "text for fid": (_replace("eval.csv", ",50.0,", ",fifty,"), "'fifty'"),
    "fid with an underscore": (_replace("eval.csv", ",50.0,", ",5_0.0,"), "'5_0.0'"),
    "no fid": (_replace("eval.csv", ",50.0,", ",,"), "fid_2k"),
    "missing column": (_replace("eval.csv", "fid_2k", "other"), "fid_2k is missing"),
    "doubled column": (_replace("eval.csv", "kid_2k", "fid_2k"), "column twice"),
    "empty eval.csv": (lambda run: run.evaluations.write_text(""), "empty"),
    "header only": (_truncate("eval.csv", 0), None),
    "last digits lost": (_truncate("eval.csv", 3), "truncated"),
    "half a row lost": (_truncate("eval.csv", 30), "truncated"),
    "last row lost": (_without_last_row, "ends at step 800 of 1200"),
    "steps out of order": (_replace("eval.csv", "\n800,", "\n300,"), "comes after"),
    "sampler changed": (_replace("eval.csv", "1200,153600", "1200,153600"), None),
    "eval.csv a directory": (_as_directory("eval.csv"), "cannot read eval.csv"),
    "result.json a directory": (_as_directory("result.json"), "incomplete"),
    "config.toml a directory": (_as_directory("config.toml"), None),
    "eval.csv binary": (lambda run: run.evaluations.write_bytes(b"\xff\xfe\x00"), "eval.csv"),
}
DAMAGE["header only"] = (
    lambda run: run.evaluations.write_text(run.evaluations.read_text().splitlines()[0] + "\n"),
    "no evaluation",
)
DAMAGE["sampler changed"] = (
    lambda run: run.evaluations.write_text(run.evaluations.read_text().replace("euler", "heun", 1)),
    "sampler changes",
)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_skipped_and_named_and_the_others_stay(name, make_run, results):
    damage, reason = DAMAGE[name]
    make_run("adaln", 0)
    damaged = make_run("adaln-zero", 0, schema=1)
    damage(damaged)
    frame = load_results(results)
    assert set(frame["block"]) == {"adaln"}
    if reason is not None:  # a directory without a config.toml is no run directory
        ((path, message),) = frame.attrs["skipped"]
        assert path == str(damaged.path)
        assert reason in message


@pytest.mark.parametrize("name", ["config.toml", "env.json", "cost.json", "train.csv", "eval.csv"])
@pytest.mark.parametrize("change", ["edited", "removed"])
def test_a_file_that_was_changed_after_the_run_is_found(name, change, make_run, results):
    make_run("adaln", 0)
    path = make_run("adaln-zero", 0).path / name
    if change == "edited":
        path.write_text(path.read_text().replace("1", "2", 1))
    elif name == "config.toml":  # without it there is no run directory
        return
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


def test_backends_that_differ_are_pointed_out(make_run, results):
    for block, backend in (("adaln", "kernels"), ("in-context", "plain"), ("joint", None)):
        run = make_run(block, 0)
        run.environment.write_text(json.dumps({"backend": backend}))
        run.finish(json.loads(run.result.read_text()))
    notes = compare(load_results(results)).notes
    assert "Backends differ: in-context plain, adaln kernels." in notes


def test_runs_that_saved_memory_are_ranked_with_others_and_pointed_out(make_run, results):
    for block, saving in (("adaln", "micro_batch = 64\ncheckpoint_blocks = true\n"), ("joint", "")):
        run = make_run(block, 0)
        text = run.config.read_text()
        run.config.write_text(text.replace("[train]\n", f"[train]\n{saving}"))
        _record(run, backend="kernels")
    found = compare(load_results(results))
    assert len(found.table) == 2
    how = "adaln kernels, batches in parts of 64, blocks recomputed, joint kernels"
    assert f"Backends differ: {how}." in found.notes


def _record(run, **facts):
    run.environment.write_text(json.dumps(facts))
    run.finish(json.loads(run.result.read_text()))


def test_versions_that_differ_are_pointed_out_in_natural_order(make_run, results):
    versions = {"adaln": ("0.2.0", "2.11.0"), "in-context": ("0.10.0", "2.9.1")}
    for block, (ditbench, torch) in versions.items():
        _record(make_run(block, 0), ditbench=ditbench, packages={"torch": torch})
    make_run("joint", 0)  # an older run that records neither
    remark = "Made with ditbench 0.2.0 and 0.10.0, torch 2.9.1 and 2.11.0."
    runs = load_results(results)
    assert remark in compare(runs).notes
    assert "Made with" not in " ".join(compare(load_results(results, "adaln,joint")).notes)
    runs.loc[runs["block"] == "joint", "budget"] = "7 steps"
    assert remark in compare(runs, force=True).notes


@pytest.mark.parametrize(
    ("facts", "device"),
    [
        ({"processor": "AMD EPYC", "threads": 2}, "AMD EPYC, 2 threads"),
        ({"processor": "AMD EPYC", "threads": 1}, "AMD EPYC, 1 thread"),
        ({"processor": "", "threads": 2}, "cpu, 2 threads"),
        ({"processor": "AMD EPYC"}, "AMD EPYC"),
        ({"processor": 7, "threads": True, "packages": [], "ditbench": None}, "cpu"),
        ({}, "cpu"),
    ],
)
def test_the_device_of_a_cpu_is_its_processor_and_threads(make_run, results, facts, device):
    _record(make_run("adaln", 0), **facts)
    assert set(load_results(results)["device"]) == {device}


def test_the_device_of_a_gpu_is_its_name(make_run, results):
    _record(make_run("adaln", 0, device="NVIDIA H200"), processor="Xeon", threads=16)
    assert set(load_results(results)["device"]) == {"NVIDIA H200"}


def test_threads_that_differ_leave_times_out_and_name_the_devices(make_run, results):
    for seed, threads in enumerate((2, 1, 1)):
        _record(make_run("adaln", seed), processor="Xeon", threads=threads)
    comparison = compare(load_results(results))
    timed = ["train_seconds", "steps_per_second", "peak_memory_bytes"]
    assert comparison.table[timed].isna().all(axis=None)
    assert "different devices (Xeon, 1 thread; Xeon, 2 threads)." in " ".join(comparison.notes)


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


def test_one_run_directory_is_results_too(make_run):
    run = make_run()
    assert len(load_results(str(run.path))) == 3


@pytest.mark.parametrize("kind", ["absent", "file", "empty", "only damaged"])
def test_nothing_to_load_is_an_error_with_a_hint(kind, make_run, results):
    reasons = {
        "absent": "does not exist",
        "file": "is not a directory",
        "empty": "no complete run",
        "only damaged": "1 skipped",
    }
    if kind == "file":
        results.write_text("")
    elif kind == "empty":
        results.mkdir()
    elif kind == "only damaged":
        make_run().result.unlink()
    with pytest.raises(DitbenchError, match=reasons[kind]) as caught:
        load_results(results)
    assert "ditbench run" in caught.value.hint


def test_reporting_imports_neither_torch_nor_what_it_does_not_need():
    code = (
        "import sys\n"
        "import ditbench.report.reading.results, ditbench.report.statistics.compare\n"
        "import ditbench.report.tables.render\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'rich', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_making_a_table_and_a_figure_does_not_import_torch(make_run, results):
    make_run()
    code = (
        "import sys\n"
        "from ditbench.report.reading.results import load_results\n"
        "from ditbench.report.statistics.compare import compare\n"
        "from ditbench.report.tables.comparisons import render_comparisons\n"
        "from ditbench.report.figures.curve import curve_figure\n"
        "from ditbench.report.figures.save import save_figure\n"
        f"frame = load_results({str(results)!r})\n"
        "render_comparisons([compare(frame)], 'md')\n"
        f"save_figure(lambda: curve_figure(frame), {str(results / 'figure.png')!r})\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_versions_of_an_external_block_are_kept_apart(make_run, results):
    """By its hash, and only where there are several; what runs have in common stays theirs."""
    first = {"location": "/a/mine.py:Mine", "sha256": "a" * 64}
    second = {"location": "/b/mine.py:Mine", "sha256": "b" * 64}
    for seed in (0, 1):
        make_run("Mine", seed, strategy=first)
        make_run("adaln", seed)
    assert sorted(set(load_results(results)["block"])) == ["Mine", "adaln"]
    make_run("Mine", 0, strategy=second)
    runs = load_results(results)
    names = ["Mine@aaaaaaaa", "Mine@bbbbbbbb", "adaln"]
    assert sorted(set(runs["block"])) == names
    assert len(split_groups(runs)) == 1
    assert sorted(compare(runs).table["block"]) == names
    assert sorted(set(load_results(results / "digits" / "adaln")["block"])) == ["adaln"]


def test_an_external_block_that_was_moved_is_the_same(make_run, results):
    for seed, place in enumerate(("/a/mine.py:Mine", "/b/mine.py:Mine")):
        make_run("Mine", seed, strategy={"location": place, "sha256": "a" * 64})
    runs = load_results(results)
    assert set(runs["block"]) == {"Mine"}
    assert runs["fingerprint"].nunique() == 1


@pytest.mark.parametrize("source", [b"edited", None])
def test_a_copy_of_another_source_is_refused_and_none_at_all_is_not(make_run, results, source):
    right = {"location": "/a/mine.py:Mine", "sha256": hashlib.sha256(b"source").hexdigest()}
    run = make_run("Mine", 0, strategy=right)
    run.strategy.write_bytes(b"source")
    assert len(load_results(results))
    run.strategy.unlink() if source is None else run.strategy.write_bytes(source)
    make_run("adaln", 0)
    skipped = load_results(results).attrs["skipped"]
    assert [reason for _, reason in skipped] == (
        [] if source is None else ["strategy.py is not the source that config.toml names"]
    )
