"""Runs that are logged to trackers: what arrives there, once, and what happens if one fails."""

import json
import os
import struct
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec

import pytest
from recorder import Recorder, stop_at

from ditbench.errors import DitbenchError
from ditbench.launch.devices import Workers
from ditbench.launch.pool import execute_at_once
from ditbench.rows import read_rows
from ditbench.runs.events import trackers
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.events.tracked import NOT_SCALARS, tracked
from ditbench.runs.events.trackers import parse_trackers
from ditbench.runs.run import execute
from ditbench.training.stop import StopRequest
from ditbench.world import World


@pytest.fixture
def plan(make_plan):
    """A tiny run that is logged to trackers."""
    return lambda *names, **values: replace(make_plan(**values), trackers=names)


def interrupted(run):
    """Execute a run up to the row of train.csv at step 3."""
    stop_at(run, lambda event: event.kind == "logged" and event.step >= 3)


@pytest.fixture
def resumed(plan):
    """A run that is logged to a tracker, was interrupted, and is complete."""

    def make(name):
        run = plan(name, budget__steps=8)
        interrupted(run)
        execute(run)
        return run

    return make


def expected(run):
    """Every number in train.csv and eval.csv, by name and step; settings are not logged."""
    tables = {"train": run.directory.train, "eval": run.directory.evaluations}
    return {
        (f"{table}/{name}", row["step"]): pytest.approx(value, rel=1e-6, nan_ok=True)
        for table, path in tables.items()
        for row in read_rows(path)
        for name, value in row.items()
        if not isinstance(value, str) and name not in NOT_SCALARS
    }


def check(run, logged):
    """What was logged is what is in the tables, each value once, and the final score."""
    curves = [entry for entry in logged if not entry[0].startswith("final/")]
    want = expected(run)
    assert len(want) > 20
    assert sorted(entry[:2] for entry in curves) == sorted(want)
    assert all(value == want[name, step] for name, step, value in curves)
    final = run.directory.read_result()["final"]
    names = {name for name, value in final.items() if not isinstance(value, str)}
    scores = {name.removeprefix("final/") for name, *_ in logged if name.startswith("final/")}
    assert scores == names - set(NOT_SCALARS)


class Memory:
    """A tracker that keeps what it receives, by the id of its run."""

    def __init__(self, run, identity, *, resumed):
        assert resumed == (identity in self.runs)
        self.logged, self.grids, self.ends = self.runs.setdefault(identity, ([], [], []))

    def log(self, step, scalars, grid):
        self.logged += [(name, step, value) for name, value in scalars.items()]
        if grid:
            self.grids.append((step, grid.read_bytes()[:4]))

    def close(self, *, complete):
        self.ends.append(complete)


@pytest.fixture
def memory(monkeypatch):
    """The runs of a tracker named `memory`."""
    monkeypatch.setattr(Memory, "runs", {}, raising=False)
    monkeypatch.setitem(trackers.TRACKERS, "memory", Memory)
    return Memory.runs


def test_a_run_is_logged_once(plan, memory):
    run = plan("memory")
    execute(run)
    execute(run)  # complete: nothing is left to log
    ((logged, grids, ends),) = memory.values()
    check(run, logged)
    assert grids == [(row["step"], b"\x89PNG") for row in run.directory.read_evaluations()]
    assert ends == [True]


def test_a_resumed_run_continues_in_its_tracker(resumed, memory):
    run = resumed("memory")
    ((logged, _, ends),) = memory.values()
    check(run, logged)
    assert ends == [False, True]


@pytest.mark.parametrize("begin", [interrupted, execute])
def test_what_ran_without_a_tracker_is_sent_later(plan, memory, begin):
    run = plan("memory", budget__steps=8)
    begin(replace(run, trackers=()))
    assert not memory
    execute(run)
    ((logged, grids, _),) = memory.values()
    check(run, logged)
    assert len(grids) == len(run.directory.read_evaluations())


def test_draws_of_the_final_score_are_one_value(plan, memory):
    run = plan("memory", eval__draws=3)
    result = execute(run)
    ((logged, *_),) = memory.values()
    check(run, logged)
    assert ("final/fid_40", 6, result["final"]["fid_40"]) in logged


def test_only_the_first_of_several_processes_logs(plan, memory):
    reporter = Recorder()
    with tracked(replace(plan("memory"), world=World(rank=1, size=2)), reporter) as shown:
        assert shown is reporter


def test_results_do_not_depend_on_trackers(plan, make_plan, memory, tmp_path):
    logged, plain = plan("memory"), make_plan(out=tmp_path / "plain")
    assert execute(logged)["final"]["fid_40"] == execute(plain)["final"]["fid_40"]
    result = logged.directory.read_result()
    logged.directory.check_recorded(result)
    assert "tracking.json" not in result["sha256"]


@pytest.mark.parametrize("method", ["__init__", "log", "close"])
def test_a_tracker_that_fails_stops_no_run(plan, memory, monkeypatch, method, capsys):
    def fail(*_, **__):
        print("noise")
        raise OSError("no route to host\nat all")

    monkeypatch.setattr(Memory, method, fail)
    run, reporter = plan("memory"), Recorder()
    execute(run, reporter)
    (warning,) = reporter.of("warned")
    assert warning.text.startswith("--log memory failed, the run continues without it: OSError: no")
    assert "\n" not in warning.text
    assert run.directory.is_complete()
    assert capsys.readouterr().out == ""


def test_others_receive_what_a_failing_one_does_not(plan, memory, monkeypatch):
    class Broken(Memory):
        def log(self, step, scalars, grid):
            raise RuntimeError

    monkeypatch.setitem(trackers.TRACKERS, "broken", Broken)
    run = plan("broken", "memory")
    execute(run)
    identity = json.loads(run.directory.tracking.read_text())["memory"]["id"]
    check(run, memory[identity][0])


@pytest.mark.parametrize("text", ["{", "[]", '{"memory": 3}', '{"memory": {}}'])
def test_a_damaged_record_begins_another_run(plan, memory, text):
    run = plan("memory", budget__steps=8)
    interrupted(run)
    run.directory.tracking.write_text(text)
    execute(run)
    check(run, [*memory.values()][1][0])


def test_names_are_parsed_once_each():
    pytest.importorskip("tensorboard")
    assert parse_trackers("tensorboard, tensorboard") == ("tensorboard",)


@pytest.mark.parametrize(("text", "message"), [("", "no tracker"), ("mlflow", "'mlflow'")])
def test_what_is_no_tracker_is_refused(text, message):
    with pytest.raises(DitbenchError, match=message):
        parse_trackers(text)


@pytest.mark.parametrize("spec", [None, ModuleSpec("wandb", None)])  # absent, or a mere directory
def test_a_package_that_is_not_installed_is_named(monkeypatch, spec):
    monkeypatch.setattr(trackers, "find_spec", lambda name: spec)
    with pytest.raises(DitbenchError) as refused:
        parse_trackers("wandb")
    assert refused.value.message == "--log wandb: the package wandb is not installed"
    assert refused.value.hint == "pip install 'ditbench[wandb]'"


def event_files(run):
    """What TensorBoard reads: scalars as (name, step, value), grids, and texts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    size = dict.fromkeys(("scalars", "images", "tensors"), 0)  # all of them
    read = EventAccumulator(str(run.directory.path), size_guidance=size)
    read.Reload()
    tags = read.Tags()
    rows = [(tag, each) for tag in tags["scalars"] for each in read.Scalars(tag)]
    scalars = [(tag, each.step, each.value) for tag, each in rows]
    return scalars, {tag: read.Images(tag) for tag in tags["images"]}, tags["tensors"]


def test_tensorboard_reads_a_run(resumed):
    pytest.importorskip("tensorboard")
    run = resumed("tensorboard")
    scalars, images, texts = event_files(run)
    check(run, scalars)
    steps = [row["step"] for row in run.directory.read_evaluations()]
    assert [image.step for image in images["samples"]] == steps
    assert texts == ["config/text_summary"]


@pytest.mark.slow
def test_each_worker_logs_its_own_run(plan):
    pytest.importorskip("tensorboard")
    runs = [plan("tensorboard", block=name) for name in ("adaln", "in-context")]
    workers = Workers([{"OMP_NUM_THREADS": "1"}] * 2)
    list(execute_at_once(runs, Reporter(), StopRequest(), workers))
    for run in runs:
        check(run, event_files(run)[0])


def wandb_records(path):
    """The records of a file of wandb: LevelDB's log format in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, buffer = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        buffer += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(buffer)
            buffer = b""


def test_wandb_keeps_a_run_offline(resumed, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = resumed("wandb")
    files = sorted(run.directory.path.glob("wandb/offline-run-*/*.wandb"))
    records = [record for file in files for record in wandb_records(file)]
    assert len({record.run.run_id for record in records if record.HasField("run")}) == 1
    updates = [item for record in records for item in record.run.config.update]
    (model,) = {item.value_json for item in updates if item.key == "model"}
    assert json.loads(model)["hidden_size"] == 16
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json)
         for item in record.history.item}
        for record in records if record.HasField("history")
    ]  # fmt: skip
    assert [each.exit.exit_code for each in records if each.HasField("exit")] == [1, 0]
    assert sum("samples/_type" in row for row in rows) == len(run.directory.read_evaluations())
    check(run, [(name, row["step"], value) for row in rows for name, value in row.items()
                if name.startswith(("train/", "eval/", "final/"))])  # fmt: skip


def test_trackio_stores_a_run(resumed, tmp_path_factory):
    if "trackio" not in sys.modules:  # it reads the variable when it is imported
        os.environ.setdefault("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    run = resumed("trackio")
    (name,) = SQLiteStorage.get_runs("ditbench")
    assert name.startswith(f"digits/adaln-zero/{run.directory.path.name}-")
    rows = SQLiteStorage.get_logs("ditbench", name)
    assert sum("samples" in row for row in rows) == len(run.directory.read_evaluations())
    check(run, [(key, row["step"], value) for row in rows for key, value in row.items()
                if key.startswith(("train/", "eval/", "final/"))])  # fmt: skip


@pytest.mark.parametrize("command", [("run",), ("tune", "--lr", "1e-3", "--budget-fraction", "1")])
def test_commands_log(command, succeed, tmp_path):
    pytest.importorskip("tensorboard")
    settings = ["--set=eval.points=1", "--set=eval.samples=40", "--set=eval.sampling_steps=2"]
    succeed(
        *command, "--block", "adaln", "--model", "16x1x2/2", "--steps", "2", "--device", "cpu",
        "--out", tmp_path, "--log", "tensorboard", *settings,
    )  # fmt: skip
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    assert (events.parent / "result.json").is_file()
