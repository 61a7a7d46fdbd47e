"""A whole command with several runs at a time, which a signal reaches."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from command_line import TINY
from slurm_daemons import wait_until

from ditbench.runs.directory.lock import is_held


@pytest.fixture
def start(tmp_path):
    """Start a command with two runs at a time, each of so many processes; wait for their steps.

    It has a process group of its own.
    """
    sweep = ["run", "--block", "adaln,none", "--seeds", "2", *TINY, "--steps", "100k"]
    command = [sys.executable, "-m", "ditbench", *sweep, "--out", tmp_path, "--workers", "2"]
    processes = []

    def call(gpus):
        process = subprocess.Popen(
            [*command, "--gpus", str(gpus)],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        wait_until(lambda: len(list(tmp_path.rglob("train.csv"))) == 2, 300)
        return process

    yield call
    for process in processes:
        with suppress(ProcessLookupError):  # also what outlived the command
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def saved(out):
    """The run directories with a checkpoint and without a process."""
    places = [path.parents[1] for path in out.rglob("latest.safetensors")]
    return [place for place in places if not is_held(place / ".lock")]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(("send", "gpus"), [(os.kill, 1), (os.killpg, 2)])
def test_a_signal_to_the_command_or_to_all_its_processes_saves_all(
    start, tmp_path, number, code, send, gpus
):
    command = start(gpus)
    send(command.pid, number)
    stdout, stderr = command.communicate(timeout=300)
    assert (command.returncode, stdout) == (code, "")
    assert stderr.splitlines()[-1].startswith("interrupted, saved; to resume: ")
    assert "failed" not in stderr
    assert len(saved(tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [1, 2])
def test_runs_of_a_command_that_is_killed_are_saved(start, tmp_path, gpus):
    start(gpus).kill()
    wait_until(lambda: len(saved(tmp_path)) == 2, 300)
