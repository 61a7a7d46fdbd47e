"""Ctrl-C, SIGTERM and a full disk, as a shell and a terminal see them."""

import importlib
import json
import os
import signal
import sys
import time
from unittest.mock import Mock

import pytest
from clocks import without_clocks
from found import only

from ditbench.__main__ import main
from ditbench.runs.directory.lock import locked
from ditbench.training import checkpoint
from ditbench.training.trainer import Trainer


@pytest.fixture
def forked(tmp_path):
    """Call `ditbench` in a forked process, which imports nothing anew.

    Returns its exit code (negative: the signal that ended it), stdout and stderr.
    """

    def call(*arguments, prepare=lambda patch: None, meanwhile=lambda child: None):
        command = ["ditbench", *map(str, arguments)]
        paths = [tmp_path / "stdout", tmp_path / "stderr"]
        child = os.fork()
        if child == 0:
            try:
                for number, path in enumerate(paths, start=1):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
                sys.argv = command
                with pytest.MonkeyPatch.context() as patch:
                    prepare(patch)
                    main()
            finally:
                os._exit(99)
        meanwhile(child)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), *(path.read_text() for path in paths)

    return call


def at_step(step, *numbers):
    """Signals from within the update of one step."""

    def prepare(patch):
        update = Trainer.update

        def signalled(self):
            if self.step + 1 == step:
                for number in numbers:
                    os.kill(os.getpid(), number)
            return update(self)

        patch.setattr(Trainer, "update", signalled)

    return prepare


@pytest.mark.parametrize(
    ("number", "code", "options"),
    [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ()),
     (signal.SIGTERM, 143, ("--json", "--quiet"))],
)  # fmt: skip
def test_a_signal_finishes_the_step_saves_and_prints_how_to_resume(
    forked, results, tmp_path, tiny, number, code, options
):
    out = tmp_path / "out with a space"
    arguments = ("run", "--block", "adaln-zero", *tiny, "--out", out, *options)
    exit_code, stdout, stderr = forked(*arguments, prepare=at_step(13, number))
    assert (exit_code, stdout) == (code, "")
    *_, last = stderr.splitlines()
    quoted = " ".join(["ditbench", *map(str, arguments)]).replace(str(out), f"'{out}'")
    assert last == f"interrupted, saved; to resume: {quoted}"
    assert "Traceback" not in stderr
    assert checkpoint.read_checkpoint(only(out, "**/latest.safetensors"))[1]["step"] == 13
    if options:
        return  # once is enough
    exit_code, stdout, stderr = forked(*arguments)
    assert exit_code == 0
    assert "from step 13 of 20 steps" in stderr
    ours, theirs = (
        json.loads(only(place, "digits/adaln-zero/seed0-*/result.json").read_text())
        for place in (out, results)
    )
    assert without_clocks(ours) == without_clocks(theirs)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM, signal.SIGTERM), 143)],
)
def test_a_second_signal_leaves_at_once(forked, tmp_path, tiny, numbers, code):
    arguments = ("run", "--block", "adaln", *tiny, "--out", tmp_path / "out")
    exit_code, stdout, stderr = forked(*arguments, prepare=at_step(13, *numbers))
    assert (exit_code, stdout) == (code, "")
    last = stderr.splitlines()[-1]
    assert last.startswith("interrupted, stopped at once, the last checkpoint is kept; to resume: ")
    assert "Traceback" not in stderr
    saved = only(tmp_path / "out", "**/latest.safetensors")
    assert checkpoint.read_checkpoint(saved)[1]["step"] == 10  # of the evaluation before


def test_an_interrupted_grid_prints_what_is_complete_and_resumes(forked, tmp_path, tiny):
    def between_runs(patch):
        from ditbench.runs.events.reporter import Reporter

        say = Reporter.say

        def signalled(self, text):
            say(self, text)
            os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(Reporter, "say", signalled)

    arguments = ("run", "--block", "adaln", "--seeds", "2", *tiny, "--out", tmp_path / "out")
    exit_code, stdout, stderr = forked(*arguments, prepare=between_runs)
    assert exit_code == 130
    assert stdout.startswith("adaln, seed 0: FID-40")
    assert "seed 1" not in stdout + stderr
    assert not list((tmp_path / "out").glob("**/seed1-*"))
    exit_code, stdout, _ = forked(*arguments, "--json", prepare=at_step(13, signal.SIGINT))
    assert exit_code == 130
    assert [row["seed"] for row in json.loads(stdout)] == [0]
    exit_code, stdout, stderr = forked(*arguments)
    assert exit_code == 0
    assert stderr.startswith("2 runs: 1 complete (skipped), 1 to go")
    assert len(stdout.splitlines()) == 4


def test_a_disk_that_is_full_ends_with_a_line_and_a_hint(forked, tmp_path, tiny):
    def prepare(patch):
        patch.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))

    arguments = ("run", "--block", "adaln", *tiny, "--out", tmp_path / "out")
    exit_code, stdout, stderr = forked(*arguments, prepare=prepare)
    assert (exit_code, stdout) == (1, "")
    first, second = stderr.splitlines()[-2:]
    assert first.startswith("error: cannot write ")
    assert first.endswith(": No space left on device")
    assert second.startswith("help: ")


def test_a_second_process_is_refused(forked, one_run, tmp_path, tiny):
    (one_run / "result.json").unlink()
    arguments = ("run", "--block", "adaln-zero", *tiny, "--out", tmp_path / "one")
    before = sorted(one_run.rglob("*"))
    with locked(one_run / ".lock"):
        exit_code, stdout, stderr = forked(*arguments)
    assert (exit_code, stdout) == (1, "")
    error, hint = stderr.splitlines()[-2:]
    assert error == f"error: {one_run} is being written by process {os.getpid()}"
    assert hint.endswith("then repeat the command")
    assert sorted(one_run.rglob("*")) == before
    assert forked(*arguments)[0] == 0


# A module whose import is interrupted where Python drops every exception.
MODULE = """import os
import signal


class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


Dropped()
"""


def test_a_signal_during_an_import_is_not_lost(forked, tmp_path):
    def prepare(patch):
        (tmp_path / "module_that_drops_errors.py").write_text(MODULE)
        patch.syspath_prepend(tmp_path)
        patch.setattr(
            "ditbench.cli.main", lambda: importlib.import_module("module_that_drops_errors")
        )

    assert forked("presets", prepare=prepare) == (130, "", "interrupted\n")


def test_a_signal_from_outside_is_heard(forked, tmp_path, tiny):
    def interrupt(child):
        ends = time.monotonic() + 60
        while not list(tmp_path.glob("**/train.csv")) and time.monotonic() < ends:
            time.sleep(0.05)
        os.kill(child, signal.SIGINT)

    rest = [part for part in tiny if part not in ("--steps", "20")]
    command = ("run", "--block", "adaln", *rest, "--steps", "100k", "--out", tmp_path)
    exit_code, stdout, stderr = forked(*command, meanwhile=interrupt)
    assert (exit_code, stdout) == (130, "")
    last = stderr.splitlines()[-1]
    assert last.startswith("interrupted, saved; to resume: ditbench run --block ")
    assert checkpoint.read_checkpoint(only(tmp_path, "**/latest.safetensors"))[1]["step"] > 0
