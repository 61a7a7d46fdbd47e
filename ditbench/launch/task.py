"""What a job of Slurm does: one run, as a command in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.launch.states import states
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# A run that SIGTERM has stopped: it is saved, or the signal came before there was anything to save.
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)


class RunTask:
    """Run a command in a directory, and stop it when Slurm needs its place or its time is over.

    submitit pickles the task, calls it in the job, and calls `checkpoint` on SIGUSR2, which Slurm
    sends before the time limit. SIGTERM, which it sends to all processes of a job that is cancelled
    or pre-empted, reaches the command by itself. The file `marker` is removed when the run has
    ended.
    """

    def __init__(self, command: Sequence[str], directory: Path, marker: Path) -> None:
        self.command = list(command)
        self.directory = directory
        self.marker = marker
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the command to its end; exits with its code unless that is 0."""
        from submitit.core.utils import UncompletedJobError

        self._child = subprocess.Popen(
            self.command, cwd=self.directory, env=_environment(), preexec_fn=_ignore_preemption
        )
        run = RunDirectory(self.marker.parent)
        with suppress(UncompletedJobError):  # a signal came, and there is nothing to requeue
            # A pre-emption may begin with SIGTERM. Unlike a cancelled job, this one still runs.
            if _wait(self._child.pid) in STOPPED and states([run]) == ["running"]:
                signal.raise_signal(signal.SIGUSR2)
        code = _wait(self._child.pid)
        if code not in STOPPED:
            self.marker.unlink(missing_ok=True)
        if code:
            raise SystemExit(code)

    def checkpoint(self) -> DelayedSubmission | None:
        """Stop the command; returns what a requeued job does, or None if the command had ended."""
        from submitit.helpers import DelayedSubmission

        if self._child:  # otherwise the signal came before the command was started
            os.kill(self._child.pid, signal.SIGTERM)
            if _wait(self._child.pid) not in STOPPED:
                return None
        return DelayedSubmission(RunTask(self.command, self.directory, self.marker))


def _environment() -> dict[str, str]:
    """The environment of the command, with a thread per CPU of the job."""
    threads = os.environ.get("SLURM_CPUS_PER_TASK")
    return ({"OMP_NUM_THREADS": threads} if threads else {}) | os.environ


def _ignore_preemption() -> None:
    # Slurm sends it to all processes of a job, and by default it ends a process.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _wait(child: int) -> int:
    """The exit code of a child, negative for a signal. It may be asked for again.

    `Popen.wait` holds a lock, which the handler of a signal that interrupts it cannot take.
    """
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
