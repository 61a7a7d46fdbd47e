"""A run that is killed again and again ends as one that nobody touched, byte for byte.

A parent imports everything once and forks a child for each attempt: the child executes the same
plan, and SIGKILL ends it after a random time, or inside a chosen call. The next attempt resumes
from what is there. When a run is complete it is compared with the uninterrupted one of the same
configuration, and another run begins, until there were enough kills.
"""

import io
import json
import mmap
import os
import random
import signal
import time
import traceback
from collections import Counter
from itertools import cycle, product
from pathlib import Path

import pytest
from clocks import timeless, without_clocks

from ditbench import rundir
from ditbench.models.registry import block_names
from ditbench.runs import run as run_module
from ditbench.runs.run import execute
from ditbench.runs.scoring import sample
from ditbench.training import budget, checkpoint
from ditbench.training.checkpoint import read_checkpoint
from ditbench.training.trainer import Trainer

# Long enough for every kind of moment, short enough for a hundred of them.
OPTIONS = {"budget__steps": 15, "eval__points": 3, "model__depth": 1}
# A row every two steps, so that evaluations and their checkpoints stand between rows.
LOG_ROWS = 7

# What a child says of itself in the byte that it shares with its parent.
PHASES = ("loading", "training", "evaluation", "checkpoint", "rows", "result")
# The calls in which a child can be made to end, and the part of a row that is written then.
PLACES = ("fsync", "before a rename", "after a rename", "half a file", "half a row")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """Ends the process in its n-th call of one place; counts the calls of all of them."""

    def __init__(self, place=None, number=0):
        self.place = place
        self.number = number
        self.calls = Counter()

    def __call__(self, place):
        """Whether this is the call."""
        self.calls[place] += 1
        return place == self.place and self.calls[place] == self.number


def set_trap(patch, trap):
    """Put the trap into everything that writes."""
    trap_calls(patch, trap)
    trap_files(patch, trap)
    trap_rows(patch, trap)


def trap_calls(patch, trap):
    fsync, replace = os.fsync, Path.replace

    def trapped_fsync(descriptor):
        if trap("fsync"):
            kill_myself()
        fsync(descriptor)

    def trapped_replace(self, target):
        if trap("before a rename"):
            kill_myself()
        replace(self, target)
        if trap("after a rename"):
            kill_myself()

    patch.setattr(os, "fsync", trapped_fsync)
    patch.setattr(Path, "replace", trapped_replace)


def trap_files(patch, trap):
    write_atomically = rundir.write_atomically

    def trapped_write(path, write):
        def half(file):
            content = io.BytesIO()
            write(content)
            file.write(content.getvalue()[: len(content.getvalue()) // 2])
            file.flush()
            kill_myself()

        write_atomically(path, half if trap("half a file") else write)

    for module in (rundir, sample):
        patch.setattr(module, "write_atomically", trapped_write)


def trap_rows(patch, trap):
    append_row = rundir.append_row

    def trapped_row(path, row, columns):
        if trap("half a row"):
            is_new = not path.exists()
            append_row(path, row, columns)
            text = path.read_bytes()
            whole = text.rstrip(b"\n").rfind(b"\n") + 1
            # A header is cut as well, and a row in its last number, where nothing shows.
            cut = random.randrange(1, whole) if is_new else random.randrange(whole + 1, len(text))
            os.truncate(path, cut)
            kill_myself()
        append_row(path, row, columns)

    patch.setattr(rundir, "append_row", trapped_row)


def record_phases(patch, phase_byte):
    """Write the current phase of the process into a shared byte."""

    def watch(module, name, phase):
        original = getattr(module, name)

        def call(*arguments, **options):
            before, phase_byte[0] = phase_byte[0], PHASES.index(phase)
            try:
                return original(*arguments, **options)
            finally:
                phase_byte[0] = before

        patch.setattr(module, name, call)

    def train(*arguments):
        phase_byte[0] = PHASES.index("training")
        return train_on(*arguments)

    train_on = Trainer.run
    patch.setattr(Trainer, "run", train)
    watch(run_module._Execution, "_evaluate", "evaluation")
    watch(checkpoint, "save_checkpoint", "checkpoint")
    watch(rundir, "append_row", "rows")
    watch(rundir.RunDirectory, "finish", "result")


class Attempts:
    """Executes plans in forked children that do not live long."""

    def __init__(self, draws, errors):
        self.draws = draws
        self.errors = errors
        self.phase = mmap.mmap(-1, 1)
        self.kinds = Counter()

    def execute(self, plan, trap=None, seconds=None):
        """One attempt; whether the run is complete after it.

        Args:
            plan: what to execute.
            trap: where the child ends itself.
            seconds: after which it is killed from outside.
        """
        self.phase[0] = 0
        child = os.fork()
        if child == 0:
            self._be_a_child(plan, trap or Trap())
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)  # a zombie, if it is through already
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            self.kinds[trap.place if trap else PHASES[self.phase[0]]] += 1
            return False
        assert os.WEXITSTATUS(status) == 0, self.errors.read_text()
        return True

    def _be_a_child(self, plan, trap):
        """Never returns: a copy of pytest must not continue."""
        code = 1
        try:
            with pytest.MonkeyPatch.context() as patch:
                random.seed(self.draws.random())
                patch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
                patch.setattr(checkpoint, "SHARE_OF_TIME", 1e9)
                record_phases(patch, self.phase)
                set_trap(patch, trap)
                execute(plan)
            code = 0
        except BaseException:
            self.errors.write_text(traceback.format_exc())
        finally:
            os._exit(code)


def facts(directory):
    """All that a run leaves but its clocks, as what can be compared for equality."""
    tensors, counters = read_checkpoint(directory.checkpoint)
    return {
        "files": sorted(str(file.relative_to(directory.path)) for file in _files(directory.path)),
        "train": timeless(directory.train),
        "evaluations": timeless(directory.evaluations),
        "result": without_clocks(json.loads(directory.result.read_text())),
        "config": directory.config.read_text(),
        "cost": directory.cost.read_text(),
        "grids": {file.name: file.read_bytes() for file in directory.path.glob("samples/*.png")},
        "counters": without_clocks(counters),
        "tensors": {
            name: (str(value.dtype), value.shape, value.numpy().tobytes())
            for name, value in tensors.items()
        },
    }


def _files(path):
    return [file for file in path.rglob("*") if file.is_file()]


class Reference:
    """The uninterrupted run of one configuration, how long it took and where it wrote."""

    def __init__(self, plan, patch):
        trap = Trap()
        started = time.perf_counter()
        with patch.context() as inner:
            inner.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
            inner.setattr(checkpoint, "SHARE_OF_TIME", 1e9)
            set_trap(inner, trap)
            execute(plan)
        self.seconds = time.perf_counter() - started
        self.calls = trap.calls
        self.facts = facts(plan.directory)


def survive(make_plan, tmp_path, monkeypatch, kills, combinations, seed):
    """Kill runs until there were so many kills, and a run of each combination; compare each."""
    monkeypatch.setattr(budget, "LOG_ROWS", LOG_ROWS)
    draws = random.Random(seed)
    attempts = Attempts(draws, tmp_path / "errors.txt")
    execute(make_plan(out=tmp_path / "warm"))  # imports, statistics
    references = {}
    for runs, (block, objective) in enumerate(cycle(combinations), start=1):
        options = {"block": block, "objective__name": objective, **OPTIONS}
        if (block, objective) not in references:
            whole = make_plan(out=tmp_path / "whole", **options)
            references[block, objective] = Reference(whole, monkeypatch)
        reference = references[block, objective]
        plan = make_plan(out=tmp_path / f"killed{runs}", **options)
        while not plan.directory.is_complete():
            left = attempts.kinds.total() < kills
            attempt(attempts, plan, reference, draws, left=left)
        # A kill may come after the result and before the lock is gone, which nothing holds.
        plan.directory.lock.unlink(missing_ok=True)
        ours, theirs = facts(plan.directory), reference.facts
        for name in theirs:
            assert ours[name] == theirs[name], (runs, block, objective, name)
        if attempts.kinds.total() >= kills and runs >= len(combinations):
            return attempts.kinds, runs
    raise AssertionError


def attempt(attempts, plan, reference, draws, *, left):
    """Half of the attempts end at a random time, half in a random call of a random place."""
    if not left:
        attempts.execute(plan)
    elif draws.random() < 0.5:
        attempts.execute(plan, seconds=draws.uniform(0, reference.seconds))
    else:
        place = draws.choice(PLACES)
        attempts.execute(plan, Trap(place, draws.randint(1, reference.calls[place])))


def test_a_run_that_is_killed_ends_as_one_that_is_not(make_plan, tmp_path, monkeypatch):
    kinds, runs = survive(make_plan, tmp_path, monkeypatch, 6, [("adaln-zero", "ddpm")], seed=1)
    assert kinds.total() >= 6
    assert runs >= 1


@pytest.mark.slow
def test_a_hundred_kills_change_nothing(make_plan, tmp_path, monkeypatch, capsys):
    """Every block, both objectives, every kind of moment. The seed is printed."""
    seed = int(os.environ.get("DITBENCH_KILL_SEED", time.time_ns() % 2**32))
    combinations = list(product(block_names(), ("flow", "ddpm")))
    started = time.perf_counter()
    kinds, runs = survive(make_plan, tmp_path, monkeypatch, 100, combinations, seed)
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\n{kinds.total()} kills, {runs} runs, {seconds:.0f} s, seed {seed}: {dict(kinds)}")
    assert kinds.total() >= 100
    assert runs >= len(combinations)
    assert set(kinds) >= {"training", "evaluation", "checkpoint", *PLACES}
