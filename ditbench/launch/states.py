"""The state of runs: what their directories say, and whether a job of Slurm waits for them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ditbench.files import write_text
from ditbench.rundir import RunDirectory
from ditbench.runs.directory.lock import is_held

# No process and no job is at work on an incomplete run; a failed one diverged.
IDLE = ("failed", "stopped")
# A file in a run directory with the number of its job: `12`, or `12_3` in an array.
MARKER = ".slurm"


def marker_of(run: RunDirectory) -> Path:
    """The file that holds the number of a run's job."""
    return run.path / MARKER


def mark(run: RunDirectory, job: str) -> None:
    """Record that a job of Slurm is to execute a run."""
    write_text(marker_of(run), f"{job}\n")


def states(runs: Iterable[RunDirectory]) -> list[str]:
    """The state of each run: done, running or queued, or one of `IDLE`."""
    runs = list(runs)
    jobs = {run.path: _job(run) for run in runs}
    queue = _queue(job for job in jobs.values() if job)
    return [_state(run, jobs[run.path], queue) for run in runs]


def _job(run: RunDirectory) -> str:
    """The number of a run's last job; empty if there is none."""
    with suppress(OSError):
        return marker_of(run).read_text("utf-8", "replace").strip()
    return ""


def _state(run: RunDirectory, job: str, queue: Mapping[str, str] | None) -> str:
    if run.is_complete():
        return "done"
    # Some file systems have no locks between machines.
    if is_held(run.lock) or (queue and queue.get(job) == "RUNNING"):
        return "running"
    # Without Slurm's word, a run with a job is not submitted again.
    if job and (queue is None or job in queue):
        return "queued"
    return "failed" if run.failure.is_file() else "stopped"


def _queue(jobs: Iterable[str]) -> Mapping[str, str] | None:
    """The states of those jobs that wait or run; None if Slurm cannot be asked."""
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if not arrays:
        return {}
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(arrays)}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:  # a single job that has ended is an error
        return {} if "Invalid job id" in answer.stderr else None
    pairs = (line.split() for line in answer.stdout.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
