"""`--gpus N` and torchrun: processes are started, watched, stopped and resumed."""

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from command_line import TINY
from worlds import in_world

from ditbench.cli import app
from ditbench.rundir import RunDirectory

# Many evaluations, so that a run can be killed after one of them, and before the last.
OPTIONS = ("run", "--block", "adaln-zero", *TINY, "--steps", "40", "--set", "eval.points=20")
# The second of two processes is killed once, after the evaluation of step 4.
DIES = """import os
import signal
from pathlib import Path

import torch

from ditbench.models.blocks.adaln import AdaLNBlock

MARK = Path({mark!r})


class Dies(AdaLNBlock):
    passes = 0

    def forward(self, x, c):
        Dies.passes += torch.is_grad_enabled()
        if Dies.passes == 6 and os.environ.get("RANK") == "1" and MARK.exists():
            MARK.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x, c)
"""


def run_again(_world, arguments):
    """The exit code of a command, and what it prints."""
    sys.argv = ["ditbench", *map(str, arguments)]
    printed, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        app(prog_name="ditbench")
    return ended.value.code, printed.getvalue(), errors.getvalue()


def test_a_killed_process_ends_the_run_in_one_line_and_more_of_them_resume(
    cli, preloaded, tmp_path
):
    """As `--gpus 2`, and as three processes of torchrun."""
    mark, file = tmp_path / "mark", tmp_path / "dies.py"
    mark.touch()
    file.write_text(DIES.format(mark=str(mark)))
    arguments = ("run", "--block", f"{file}:Dies", *TINY, "--steps", "8", "--out", tmp_path)
    result = cli(*arguments, "--gpus", "2")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    error = lines.index("error: process 1 of 2 was killed by SIGKILL")
    assert "resumes" in lines[error + 1]
    assert "Traceback" not in result.stderr
    assert not mark.exists()
    (path,) = tmp_path.glob("digits/Dies/*")
    assert not RunDirectory(path).is_complete()

    answers = in_world(3, run_again, arguments)
    assert [code for code, *_ in answers] == [0, 0, 0], answers
    assert [stdout.count("FID") for _, stdout, _ in answers] == [1, 0, 0]
    assert "from step 4 of 8" in answers[0][2]
    result = RunDirectory(path).read_result()
    assert result["steps"] == 8
    RunDirectory(path).check_recorded(result)


def start(*arguments, cwd, launcher=("-m", "ditbench")):
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=TWO_GPUS)]
)
def test_so_do_the_processes_of_torchrun(tmp_path, device):
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
