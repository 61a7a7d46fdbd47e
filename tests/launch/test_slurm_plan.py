"""What is submitted to Slurm, what a job does, and the states of runs; without a Slurm."""

import fcntl
import json
import sys
import threading
import time

import pytest
from command_line import ditbench

from ditbench.cli.execution.slurm import parse_slurm
from ditbench.errors import DitbenchError
from ditbench.launch.states import MARKER, mark, states
from ditbench.launch.task import RunTask
from ditbench.rundir import RunDirectory

TINY = ("--device", "cpu", "--model", "16x1x2/2", "--batch-size", "16", "--steps", "2",
        "--set", "eval.points=1", "--set", "eval.samples=40",
        "--set", "eval.sampling_steps=2")  # fmt: skip
SLURM = ("--launcher", "slurm", "--slurm", "partition=gpu,time=4h")


@pytest.fixture
def command(monkeypatch):
    """Call `ditbench`; the jobs repeat its command line."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ditbench", *map(str, arguments)])
        return ditbench(*arguments)

    return call


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Commands of Slurm that accept any job, and list what the returned file holds."""
    place = tmp_path / "bin"
    place.mkdir()
    queue = place / "queue"
    queue.touch()
    scripts = {"srun": "", "sbatch": "echo Submitted batch job 7", "squeue": f"cat {queue}"}
    for name, line in scripts.items():
        (place / name).write_text(f"#!/bin/sh\n{line}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=":")
    return queue


@pytest.fixture
def no_slurm(tmp_path, monkeypatch):
    """A machine whose PATH has no commands of Slurm."""
    monkeypatch.setenv("PATH", str(tmp_path))


def test_options_of_sbatch_are_parsed():
    assert parse_slurm("") == {}
    assert parse_slurm("partition=gpu,time=1h30m,gpus=a100:1,cpus=8") == {
        "partition": "gpu", "time": 90, "gpus_per_node": "a100:1", "cpus_per_task": "8",
    }  # fmt: skip
    assert parse_slurm("nodelist=a,b[1-3],mail-type=END,parallel=4") == {
        "nodelist": "a,b[1-3]", "mail_type": "END", "parallel": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("gpu", "'gpu' is not KEY=VALUE"),
        ("partition=", "'partition=' is not KEY=VALUE"),
        ("time=60", "time=60 is not a time"),  # minutes in Slurm, seconds in ditbench
        ("time=04:00:00", "time=04:00:00 is not a time"),
        ("time=2m", "of 5m or more"),
        ("parallel=0", "parallel '0' is not a whole number"),
    ],
)
def test_wrong_options_are_refused(text, part):
    with pytest.raises(DitbenchError, match=part):
        parse_slurm(text)


def test_a_dry_run_prints_the_script_and_writes_nothing(command, no_slurm, tmp_path):
    out = tmp_path / "results"
    options = ("--slurm", "partition=gpu,time=4h,gpus=1,cpus=8,parallel=2,qos=low")
    result = command("run", "--block", "adaln", "--seeds", "3", *TINY, "--out", out,
                     "--launcher", "slurm", *options, "--dry-run")  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "#!/bin/bash"
    asked = {"array=0-2%2", "partition=gpu", "time=240", "gpus-per-node=1", "cpus-per-task=8",
             "qos=low", "requeue", "job-name=ditbench", "signal=USR2@90"}  # fmt: skip
    assert asked <= {line.removeprefix("#SBATCH --") for line in lines}
    assert lines[-1].startswith("srun ")
    assert "--cpus-per-task=8" in lines[-1]
    assert not out.exists()


def test_only_runs_that_nobody_works_on_are_submitted(command, fake_slurm, tmp_path):
    out, sweep = tmp_path / "results", ("--block", "adaln", "--seeds", "0,1,2,3", *TINY)
    assert command("run", "--block", "adaln", "--seeds", "0,", *TINY, "--out", out).exit_code == 0
    done = next(out.glob("digits/adaln/seed0-*"))
    running, queued, cancelled = (
        RunDirectory(done.with_name(f"seed{seed}-{done.name.partition('-')[2]}"))
        for seed in (1, 2, 3)
    )
    mark(queued, "5_0")
    mark(cancelled, "5_1")
    fake_slurm.write_text("5_0 PENDING\n6 RUNNING\n")
    running.path.mkdir()
    with running.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = command("run", *sweep, "--out", out, *SLURM)
    assert result.exit_code == 0, result.output
    assert result.stderr == "4 runs: 1 done, 1 running, 1 queued, 1 to submit\n"
    assert result.stdout == f"job 7: adaln seed 3, {cancelled.path}\n"
    assert (cancelled.path / MARKER).read_text() == "7\n"

    import cloudpickle

    with (out / "slurm" / "7_submitted.pkl").open("rb") as file:
        task = cloudpickle.load(file).function
    assert task.marker == cancelled.path / MARKER
    assert task.command[1:4] == ["-m", "ditbench", "run"]
    # The job's command line plans the same run as the one that submitted it, and executes it alone.
    executed = command(*task.command[3:])
    assert executed.exit_code == 0, executed.output
    assert cancelled.is_complete()
    assert not queued.is_complete()
    facts = json.loads(cancelled.environment.read_text())
    assert facts["planned_seeds"] == 4


def test_gpus_are_planned_where_there_are_none(command, fake_slurm, tmp_path):
    out, tiny = tmp_path / "results", ("--block", "adaln", *TINY[2:])
    result = command("run", *tiny, "--out", out, "--launcher", "slurm", "--slurm", "gpus=1")
    assert result.exit_code == 0, result.output
    (path,) = out.glob("digits/adaln/seed0-*")
    planned = command("run", *tiny, "--precision", "bf16", "--out", out, "--dry-run", "--json")
    assert json.loads(planned.stdout)[0]["path"] == str(path)
    for file in (out / "slurm").glob("*.pkl"):
        assert b"--device" in file.read_bytes()
        assert b"cuda" in file.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--launcher", "slurn"), "unknown launcher 'slurn'"),
        (("--slurm", "time=4h"), "--slurm is given without --launcher"),
        (("--task", "elsewhere"), "plans no run in elsewhere"),
        (SLURM, "there is no Slurm on this machine"),
    ],
)
def test_errors_are_a_line_and_a_hint(command, no_slurm, tmp_path, arguments, part):
    result = command("run", "--block", "adaln", *TINY, "--out", tmp_path / "results", *arguments)
    assert result.exit_code in (1, 2)
    assert part in result.stderr
    assert "help: " in result.stderr
    assert not (tmp_path / "results" / "digits").exists()


def test_a_refused_job_leaves_no_trace_in_run_directories(command, fake_slurm, tmp_path):
    fake_slurm.with_name("sbatch").write_text("#!/bin/sh\necho invalid partition >&2; exit 1\n")
    result = command("run", "--block", "adaln", *TINY, "--out", tmp_path / "results", *SLURM)
    assert result.exit_code == 1
    assert "error: Slurm refused the jobs" in result.stderr
    assert not (tmp_path / "results" / "digits").exists()


# Slurm's signal must not end it, and on SIGTERM it ends as a saved run does.
CHILD = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
pathlib.Path("started").touch()
os.kill(os.getpid(), signal.SIGUSR2)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""


def begun_task(tmp_path, seconds, code=0):
    """A task whose child has started, and the thread that waits for it."""
    marker = tmp_path / MARKER
    marker.touch()
    task = RunTask([sys.executable, "-c", CHILD, str(seconds), str(code)], tmp_path, marker)
    codes = []

    def run():
        try:
            task()
            codes.append(0)
        except SystemExit as error:
            codes.append(error.code)

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + 30
    while not (task._child and (tmp_path / "started").exists()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return task, thread, codes


def test_a_preempted_task_stops_its_command_and_is_requeued_as_it_was(tmp_path):
    task, thread, codes = begun_task(tmp_path, 30)
    requeued = task.checkpoint()
    thread.join()
    assert codes == [143]
    assert (requeued.function.command, requeued.function.marker) == (task.command, task.marker)


@pytest.mark.parametrize("code", [0, 1])
def test_a_task_that_has_ended_is_not_requeued(tmp_path, code):
    task, thread, codes = begun_task(tmp_path, 0, code)
    thread.join()
    assert codes == [code]
    assert not task.marker.exists()
    assert task.checkpoint() is None


def test_a_task_that_has_not_begun_is_requeued(tmp_path):
    task = RunTask(["true"], tmp_path, tmp_path / MARKER)
    assert task.checkpoint().function.command == ["true"]


def test_a_job_has_a_thread_per_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.delenv("OMP_NUM_THREADS")
    program = "import os; open('threads', 'w').write(os.environ['OMP_NUM_THREADS'])"
    task = RunTask([sys.executable, "-c", program], tmp_path, tmp_path / MARKER)
    task()
    assert (tmp_path / "threads").read_text() == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # a user's own choice counts
    task()
    assert (tmp_path / "threads").read_text() == "2"


def test_list_shows_states_steps_and_scores(command, no_slurm, tmp_path):
    out = tmp_path / "results"
    assert command("run", "--block", "adaln", *TINY, "--out", out).exit_code == 0
    (done,) = out.glob("digits/adaln/seed0-*")
    waiting, failed = RunDirectory(done.with_name("seed1-abc")), RunDirectory(done.with_name("x"))
    mark(waiting, "12_3")
    failed.path.mkdir()
    failed.config.write_bytes((done / "config.toml").read_bytes())
    failed.failure.write_text("{}")
    rows = json.loads(command("list", out, "--format", "json").stdout)
    shown = [(row["seed"], row["state"], row["step"], row["fid"] is None) for row in rows]
    assert shown == [(0, "done", 2, False), (1, "queued", None, True), (0, "failed", None, True)]
    assert {row["block"] for row in rows} == {"adaln"}
    assert command("list", tmp_path / "nothing").exit_code == 2


def test_a_killed_process_holds_no_lock(tmp_path):
    run = RunDirectory(tmp_path)
    run.lock.write_text("123\n")
    assert states([run]) == ["stopped"]
    with run.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert states([run]) == ["running"]
    assert states([run]) == ["stopped"]


def test_a_missing_marker_or_a_dead_controller_is_no_error(tmp_path, fake_slurm):
    run = RunDirectory(tmp_path)
    assert states([run]) == ["stopped"]
    mark(run, "3")
    assert states([run]) == ["stopped"]  # the queue is empty
    squeue = fake_slurm.with_name("squeue")
    squeue.write_text("#!/bin/sh\necho Invalid job id specified >&2; exit 1\n")
    assert states([run]) == ["stopped"]
    squeue.write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    assert states([run]) == ["queued"]  # it may still be there: not submitted twice
