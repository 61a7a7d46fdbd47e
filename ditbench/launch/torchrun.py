"""One run on several GPUs: the processes, started and watched by torchrun's elastic agent."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ditbench.errors import EXIT_FAILED, EXIT_SIGNAL, DitbenchError, one_line
from ditbench.world import EXIT_LOST, RUN_ID

# Seconds that processes have to save what they have, after a signal.
PATIENCE = 300
# Exit codes of processes that ended because another one did, or because of a signal.
CONSEQUENCES = (EXIT_LOST, -signal.SIGTERM, EXIT_SIGNAL + signal.SIGTERM)


def run_processes(number: int, arguments: Sequence[str]) -> int:
    """Run `ditbench ARGUMENTS` in so many processes of this machine, as torchrun would.

    The first process prints; what the others print is kept until the end.

    Returns:
        The exit code of the first process, which printed why it is not 0.

    Raises:
        DitbenchError: exit code 1, another process failed or was killed.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # what the agent logs is reported here
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(PATIENCE))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    with tempfile.TemporaryDirectory(prefix="ditbench-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id=f"{RUN_ID}{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(
                log_dir=logs, redirects=dict.fromkeys(range(1, number), Std.ALL)
            ),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "ditbench", *arguments)
        except ChildFailedError as error:
            return _exit_code(error.failures, number, Path(logs))
        except SignalException as error:
            return EXIT_SIGNAL + error.sigval
    return 0


def _exit_code(failures: Mapping[int, Any], number: int, logs: Path) -> int:
    """The code of process 0 if it printed a reason; otherwise raise the first other failure."""
    codes = {rank: failure.exitcode for rank, failure in failures.items()}
    causes = {rank: code for rank, code in codes.items() if code not in CONSEQUENCES}
    if not causes:  # a signal that reached one process, and stopped all of them
        return max(codes.values())
    rank, code = min(causes.items())
    if rank == 0 and code > 0:
        return code
    if code < 0:
        reason = f"was killed by {signal.Signals(-code).name}"
    else:
        reason = f"ended with exit code {code}{_last_words(logs, rank)}"
    raise DitbenchError(
        f"process {rank} of {number} {reason}",
        "the same command resumes from the last checkpoint, also with another --gpus",
        EXIT_FAILED,
    )


def _last_words(logs: Path, rank: int) -> str:
    """The last error that a process printed, in one line."""
    for log in logs.glob(f"**/{rank}/stderr.log"):
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        if lines:
            return ": " + one_line((errors or lines)[-1].removeprefix("error: "))
    return ""
