"""Several processes of this machine, each with a GPU of its own, that compute together."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

import torch.distributed as dist

from ditbench.ctrl_c import starting_processes
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.world import ProcessLost

# Seconds after which a process that has done its work, but does not end, is killed.
PATIENCE = 20
HOST = "127.0.0.1"
# The exit code of a process that ended because another one had.
EXIT_LOST = 75

Send = Callable[[Any], None]


def in_processes(number: int, function: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """Call `function(send, *arguments)` in `number` new processes, and yield what they send.

    Each has the variables that torchrun would set, for `ditbench.world.join`. Function and
    arguments can be pickled. No process outlives the loop over what they send, or receives Ctrl-C.

    Raises:
        DitbenchError: a process raised it, or (exit code 1) ended in another way.
    """
    context = multiprocessing.get_context("spawn")  # a fork cannot use CUDA
    # The meeting point: its port is free because it is taken.
    store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    running: dict[Connection, tuple[int, SpawnProcess]] = {}
    try:
        for rank in range(number):
            receiver, sender = context.Pipe(duplex=False)
            known = (sender, _variables(rank, number, store.port), function, arguments)
            process = context.Process(target=_work, args=known, daemon=True)
            with starting_processes():
                process.start()
            sender.close()
            running[receiver] = rank, process
        while running:
            yield from _received(running, number)
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _received(running: dict[Connection, tuple[int, SpawnProcess]], number: int) -> Iterator[Any]:
    """What was sent next; a process that has ended is removed."""
    for ready in wait(list(running)):
        receiver = cast("Connection", ready)
        try:
            message = receiver.recv()
        except EOFError:
            rank, process = running[receiver]
            process.join(PATIENCE)
            if process.exitcode is None:
                process.kill()
            del running[receiver]
            if process.exitcode and (process.exitcode != EXIT_LOST or not running):
                raise _ended(rank, number, process.exitcode) from None
        else:
            if isinstance(message, DitbenchError):
                raise message
            yield message


def _ended(rank: int, number: int, code: int) -> DitbenchError:
    """The error for a process that failed without a DitbenchError."""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return DitbenchError(
        f"process {rank} of {number} {how}",
        "what it printed is above; the same command again resumes",
        EXIT_FAILED,
    )


def _variables(rank: int, number: int, port: int) -> dict[str, str]:
    """What torchrun would set for one of the processes."""
    return {
        **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(number)),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": f"ditbench-{port}",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # process 0 does not open the port itself
    }


def _work(
    sender: Connection, variables: dict[str, str], function: Callable[..., None], arguments: Any
) -> None:
    """The life of one process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(variables)
    with suppress(KeyboardInterrupt):  # the process that started this one says so
        try:
            function(sender.send, *arguments)
        except ProcessLost:
            sys.exit(EXIT_LOST)
        except DitbenchError as error:
            sender.send(error)
        sender.close()
        if dist.is_initialized():
            gc.collect()  # recorded graphs, which use what is destroyed
            dist.destroy_process_group()


def _end_with_parent() -> None:
    """End this process, whatever it waits for, when the one that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(EXIT_FAILED)
