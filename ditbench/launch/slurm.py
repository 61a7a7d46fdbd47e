"""Runs as jobs of Slurm, one task of an array per run, by submitit."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.launch.states import mark, marker_of
from ditbench.launch.task import RunTask
from ditbench.rundir import RunDirectory

LOGS = "slurm"  # the directory of scripts and logs, below a directory of results
# How often a run that reaches its time limit is requeued. The same command submits it again.
MOST_TIMEOUTS = 100


def script(runs: int, parameters: Mapping[str, Any], out: Path) -> str:
    """The batch script of so many runs, with the parameters of `submitit.SlurmExecutor`."""
    _check_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    place = out.absolute() / LOGS
    task = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(place))}"
    array: dict[str, Any] = {"map_count": runs} if runs > 1 else {}
    return _make_sbatch_string(command=task, folder=place, **array, **parameters)


def submit(
    commands: Sequence[tuple[RunDirectory, Sequence[str]]], parameters: Mapping[str, Any], out: Path
) -> list[str]:
    """Submit one job per run and mark the run directories; returns the numbers of the jobs.

    Each run has a command that executes it in the current directory. `parameters` are those of
    `submitit.SlurmExecutor`; logs go below `out`, the directory of results. A DitbenchError if
    submitit is not installed, or (exit code 1) Slurm is not, or refuses the jobs.
    """
    _check_submitit()
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if SlurmExecutor.affinity() <= 0:
        raise DitbenchError(
            "there is no Slurm on this machine: srun is not found",
            "run this on a login node of the cluster; --dry-run prints the batch script anywhere",
            EXIT_FAILED,
        )
    executor = SlurmExecutor(folder=out.absolute() / LOGS, max_num_timeout=MOST_TIMEOUTS)
    executor.update_parameters(**parameters)
    here = Path.cwd()
    try:
        with executor.batch():
            jobs = [
                executor.submit(RunTask(command, here, marker_of(run).absolute()))
                for run, command in commands
            ]
    except (FailedJobError, FailedSubmissionError) as error:  # the reason is on stderr already
        what = "Slurm refused the jobs"
        raise DitbenchError(what, "change --slurm; sinfo lists partitions", EXIT_FAILED) from error
    for (run, _), job in zip(commands, jobs, strict=True):
        mark(run, job.job_id)
    return [job.job_id for job in jobs]


def _check_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        what = "--launcher slurm needs submitit"
        raise DitbenchError(what, "pip install 'ditbench[slurm]'") from error
