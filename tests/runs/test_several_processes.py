"""A whole run by several processes: the same results, files written by one, stops together."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from worlds import in_world

from ditbench.rows import read_rows
from ditbench.rundir import RunDirectory

SETTINGS = {
    "block": "adaln-zero",
    "model.hidden_size": 16,
    "model.depth": 1,
    "model.num_heads": 2,
    "train.batch_size": 17,
    "train.warmup": 0.0,
    "budget.steps": 12,
    "objective.name": "ddpm",  # its sampler draws noise at every step
    "eval.sampler": "ddpm",
    "eval.points": 2,
    # Batches for each process, one in parts, and one of one image: fewer than processes.
    "eval.samples": 106,
    "eval.batch_size": 15,
    "eval.sampling_steps": 3,
    "eval.draws": 2,
}


def plan(out, world):
    from ditbench.config import load
    from ditbench.runs.planning.plan import plan_all

    (run,) = plan_all([load("digits", None, (), SETTINGS)], out, torch.device("cpu"))
    return replace(run, world=world)


def whole_run(world, out):
    """Execute a run; returns its result, and how many files this process opened for writing."""
    from ditbench.runs.run import execute

    return execute(plan(out, world)), execute(plan(out, world))


def interrupted_run(world, out):
    """A run that a signal to one process ends after its first evaluation."""
    from ditbench.runs.events.reporter import Reporter
    from ditbench.runs.run import execute
    from ditbench.training.stop import SharedStop, Stopped

    stop = SharedStop(world)

    class Interrupting(Reporter):
        def evaluated(self, row):
            if world.rank == 1:
                stop.take(signal.SIGTERM, None)

    try:
        execute(plan(out, world), Interrupting(), stop)
    except Stopped as stopped:
        return stopped.number
    return None


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The results of one, two and three processes, and the directories."""
    found = {}
    for size in (1, 2, 3):
        out = tmp_path_factory.mktemp(f"processes{size}")
        found[size] = in_world(size, whole_run, out), directory(out)
    return found


def directory(out):
    (path,) = (out / "digits" / "adaln-zero").iterdir()
    return RunDirectory(path)


TIMES = ("seconds", "sampling_seconds", "eval_seconds")


def assert_equal_to_rounding(found, expected):
    assert len(found) == len(expected) > 0
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - set(TIMES):
            wanted = other[name]
            if isinstance(wanted, float):
                wanted = pytest.approx(wanted, rel=1e-4, abs=1e-6)
            assert row[name] == wanted, name


@pytest.mark.parametrize("size", [2, 3])
def test_tables_of_several_processes_are_those_of_one(runs, size):
    (_, alone), (_, together) = runs[1], runs[size]
    assert together.path.name == alone.path.name  # with the fingerprint
    assert_equal_to_rounding(read_rows(together.train), read_rows(alone.train))
    assert_equal_to_rounding(together.read_evaluations(), alone.read_evaluations())
    assert_equal_to_rounding(together.read_finals(), alone.read_finals())
    assert together.config.read_text() == alone.config.read_text()


@pytest.mark.parametrize("size", [2, 3])
def test_all_processes_return_the_result_that_one_has_written(runs, size):
    answers, together = runs[size]
    result = together.read_result()
    together.check_recorded(result)
    for first, again in answers:
        assert again == result
        assert first.items() <= result.items()


def test_the_number_of_processes_is_recorded(runs):
    from ditbench.files import read_json

    for size, (_, run) in runs.items():
        assert read_json(run.environment)["world_size"] == size


def test_a_signal_to_one_process_stops_all_and_another_number_resumes(runs, tmp_path):
    assert in_world(3, interrupted_run, tmp_path) == [signal.SIGTERM] * 3
    left = directory(tmp_path)
    assert not left.is_complete()
    assert len(left.read_evaluations()) == 1
    in_world(2, whole_run, tmp_path)
    _, alone = runs[1]
    assert_equal_to_rounding(left.read_evaluations(), alone.read_evaluations())
    assert_equal_to_rounding(read_rows(left.train), read_rows(alone.train))


STUCK = """
import threading
import time
from ditbench.training import stop
from ditbench.world import World
stop.PATIENCE = 0.2
shared = stop.SharedStop(World())

def compute():
    print("computing", flush=True)
    while not shared.number:
        time.sleep(0.01)
    time.sleep(1)
    print("done", flush=True)

with stop.stopping(shared):
    shared.wait_for(compute)
    threading.Event().wait()
"""


def test_after_a_signal_a_process_computes_to_the_end_but_waits_for_no_other_that_has_ended():
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "done\n"
        assert process.wait(timeout=30) == 1


def repaired_run(world, out):
    """One process finds damaged compiled code, in training and in sampling."""
    from ditbench.models.dit import DiT
    from ditbench.runs.planning.plan import Plan
    from ditbench.runs.run import execute

    Plan.rehearsal = 2
    run = plan(out, world)
    key = "c" + "a2" * 25 + "b"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(out)
    place = out / key[1:3]
    damaged = {place / f"{key}.train.so": True, place / f"{key[:-1]}d.sample.so": False}
    passes = DiT.forward

    def forward(self, *inputs):
        for file, training in damaged.items():
            if self.training == training and file.exists():
                raise ImportError(f"{file}: file too short")
        return passes(self, *inputs)

    if world.rank == 1:
        for file in damaged:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        DiT.forward = forward
    result = execute(run)
    return result["steps"], [file.exists() for file in damaged]


def test_a_process_that_has_to_compile_again_is_waited_for(tmp_path):
    found = in_world(2, repaired_run, tmp_path)
    assert found == [(SETTINGS["budget.steps"], [False, False])] * 2


def different_run(world, out):
    """What is said where the processes would not do the same."""
    from ditbench.errors import DitbenchError
    from ditbench.runs.run import execute
    from ditbench.training.device.backend import Backend

    run = plan(out, world)
    with pytest.raises(DitbenchError) as raised:
        execute(replace(run, backend=Backend("compile")) if world.rank else run)
    return raised.value.message, out.exists()


def test_processes_that_would_do_different_things_are_refused(tmp_path):
    found = in_world(2, different_run, tmp_path / "results")
    said = "adaln-zero seed 0: images, versions or compilers differ between the processes"
    assert all(message.startswith(said) and not written for message, written in found)
