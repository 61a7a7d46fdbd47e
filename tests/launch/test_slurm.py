"""A sweep on a real Slurm: one run pre-empted, one cancelled, all equal to local ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ditbench
from contents import contents, runs
from slurm_daemons import is_installed, running_slurm, slurm, wait_until

# A minute on two cores; .ci/run runs it.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_installed(), reason="a real Slurm needs root and Debian's package slurm-wlm"
    ),
]

SWEEP = ("run", "--block", "adaln,adaln-zero", "--seeds", "2", "--device", "cpu", "--model",
         "16x1x2/2", "--batch-size", "16", "--steps", "600", "--set", "eval.points=2",
         "--set", "eval.samples=40", "--set", "eval.sampling_steps=3", "--out")  # fmt: skip
ON_SLURM = ("--launcher", "slurm", "--slurm", "time=10m,cpus=1,partition=slots")
STARTED = 5  # rows of a log, of 200


@pytest.fixture(scope="module", autouse=True)
def _daemons(tmp_path_factory):
    place = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch, running_slurm(place, patch):
        yield


@pytest.fixture
def command(monkeypatch):
    """Call `ditbench` in this process, which imports torch once. Jobs repeat its command line."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ditbench", *map(str, arguments)])
        result = ditbench(*arguments)
        assert result.exit_code == 0, result.output
        return result

    return call


def log_rows(run):
    log = run / "train.csv"
    return log.read_text().count("\n") - 1 if log.exists() else 0


def queue():
    """The states of the jobs that wait or run."""
    lines = slurm("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def test_a_sweep_with_a_preempted_and_a_cancelled_run_equals_local_runs(command, tmp_path):
    out, local = tmp_path / "jobs", tmp_path / "local"
    script = command(*SWEEP, out, *ON_SLURM, "--dry-run").stdout
    assert not out.exists()
    first = command(*SWEEP, out, *ON_SLURM)
    (submitted,) = (out / "slurm").glob("*_submission.sh")
    assert submitted.read_text() == script
    assert len(first.stdout.splitlines()) == 4
    array = submitted.name.removesuffix("_submission.sh")
    places = [Path(line.rsplit(", ", 1)[1]) for line in first.stdout.splitlines()]
    again = command(*SWEEP, out, *ON_SLURM)  # all have a job
    assert again.stdout == ""
    assert "0 to submit" in again.stderr

    preempted, cancelled = places[:2]  # the two slots
    wait_until(lambda: log_rows(preempted) >= STARTED)
    # It repeats a signal to a job that is being requeued.
    with subprocess.Popen(["scancel", "--signal=USR2", f"{array}_0"]) as signalling:
        wait_until(lambda: log_rows(cancelled) >= STARTED)
        slurm("scancel", f"{array}_1")
        wait_until(lambda: queue().get(f"{array}_0") == "PENDING")
        signalling.kill()
    wait_until(lambda: f"{array}_1" not in queue())
    listed = json.loads(command("list", out, "--format", "json").stdout)
    states = {row["path"]: (row["state"], (row["step"] or 0) > 0) for row in listed}
    assert states[str(preempted)] == ("queued", True)
    assert states[str(cancelled)] == ("stopped", True)
    slurm("scontrol", "update", f"JobId={array}_0", "StartTime=now")  # not in two minutes
    resubmitted = command(*SWEEP, out, *ON_SLURM).stdout
    assert [resubmitted.rstrip().rsplit(", ", 1)[1]] == [str(cancelled)]

    command(*SWEEP, local)
    wait_until(lambda: len([*out.glob("digits/*/*/result.json")]) == 4)
    wait_until(lambda: not queue())
    assert command(*SWEEP, out, *ON_SLURM).stderr.startswith("4 runs: 4 done, 0 to submit")
    expected = {name: contents(run) for name, run in runs(local).items()}
    assert {name: contents(run) for name, run in runs(out).items()} == expected
    logs = [file.read_text() for file in (out / "slurm").glob(f"{array}_0_0_log.*")]
    assert sum(text.count("interrupted, saved") for text in logs) == 1


def test_a_job_that_gives_way_to_an_urgent_one_saves_and_waits(command, tmp_path):
    (submitted,) = command(*SWEEP, tmp_path, *ON_SLURM, "--seeds", "0,", "--block", "adaln",
                           "--steps", "20k").stdout.splitlines()  # fmt: skip
    job, run = submitted.split()[1].rstrip(":"), Path(submitted.rsplit(", ", 1)[1])
    wait_until(lambda: log_rows(run) >= 1)
    slurm("srun", "--ntasks=2", "--partition=urgent", "true")  # Slurm sends SIGTERM to the job
    wait_until(lambda: queue().get(job) == "PENDING")
    assert (run / "checkpoints" / "latest.safetensors").exists()
    (row,) = json.loads(command("list", tmp_path, "--format", "json").stdout)
    assert row["state"] == "queued"
