"""`--gpus N` and torchrun: processes are started, watched, stopped and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ditbench.rundir import RunDirectory

OPTIONS = (
    *("run", "--block", "adaln-zero", "--model", "16x1x2/2", "--batch-size", "16"),
    *("--steps", "40", "--set", "eval.points=20", "--set", "eval.samples=20"),
    *("--set", "eval.sampling_steps=2"),
)


def start(*arguments, cwd, launcher=("-m", "ditbench")):
    search = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(search)}
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        cwd=cwd, env=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def descendants(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    children = [int(line) for line in found.stdout.split()]
    return [*children, *(each for child in children for each in descendants(child))]


def last_of_the_run(pid):
    """The process that a command started last to compute; each may have others, which compile."""
    return max(
        each
        for each in descendants(pid)
        if b"spawn_main" in Path("/proc", str(each), "cmdline").read_bytes()
    )


def the_run(path):
    return RunDirectory(next(path.glob("results/digits/adaln-zero/*")))


def wait_for_checkpoint(process, path):
    deadline = time.monotonic() + 120
    while not list(path.glob("results/digits/adaln-zero/*/checkpoints/previous.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


TWO_GPUS = (
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs"),
)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=TWO_GPUS)])
def test_a_killed_process_ends_the_run_in_one_line_and_torchrun_resumes(tmp_path, device):
    process = start(*OPTIONS, "--gpus", "2", "--device", device, cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path)
    os.kill(last_of_the_run(process.pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    lines = errors.splitlines()  # the last may be Python's own, of a semaphore that was left
    error = lines.index("error: process 1 of 2 was killed by SIGKILL")
    assert "resumes" in lines[error + 1]
    assert "Traceback" not in errors
    assert not the_run(tmp_path).is_complete()

    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    if device == "cuda":  # one GPU
        launcher = ()
    process = start("-m", "ditbench", *OPTIONS, "--device", device, cwd=tmp_path, launcher=launcher)
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert output.count("FID") == 1
    assert "from step" in errors
    result = the_run(tmp_path).read_result()
    assert result["steps"] == 40
    the_run(tmp_path).check_recorded(result)
