"""Processes that decode images: started, given blocks of files, read from and ended.

They are Python processes of their own and not multiprocessing's, which would run the user's script
again in each of them, and leave them behind when this process is killed. These end with the pipe
that they read from.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence


class Job(NamedTuple):
    """What there is to decode.

    Attributes:
        path: of the folder or zip.
        shape: that each image must have.
        blocks: names of files; the pixels of a block are handed over together.
    """

    path: str
    shape: tuple[int, ...]
    blocks: list[list[str]]


def decode_blocks(job: Job, targets: Sequence[memoryview], processes: int) -> list[int]:
    """Have processes decode blocks, each whenever one is free; they are ended whatever happens.

    As soon as one gives no pixels, because a file is bad or because it is gone, no more is begun.

    Args:
        job: the blocks.
        targets: where each one's pixels go.
        processes: how many; there may be fewer, or none, where the system has no room for them.

    Returns:
        The numbers of the blocks that were not decoded, ascending. None before the first of them is
        bad.
    """
    left, done = deque(range(len(job.blocks))), set[int]()
    workers: list[_Worker] = []
    try:
        with suppress(OSError, RuntimeError):  # no room for a process, or for a thread
            for _ in range(processes):
                workers.append(_Worker(job, targets, left, done))
                workers[-1].thread.start()
        for worker in workers:
            worker.wait()
    finally:
        left.clear()
        for worker in workers:
            worker.end()
    return [number for number in range(len(job.blocks)) if number not in done]


class _Worker:
    """A process, and the thread that gives it block after block.

    Args:
        job: the blocks.
        targets: where their pixels go.
        left: numbers of those that nobody has begun.
        done: numbers of those whose pixels are there.
    """

    def __init__(
        self, job: Job, targets: Sequence[memoryview], left: deque[int], done: set[int]
    ) -> None:
        self.job, self.targets, self.left, self.done = job, targets, left, done
        self.process = _start()
        self.thread = Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        try:
            self._tell(json.dumps(self.job))
            while True:
                number = self.left.popleft()
                self._tell(str(number))
                self._receive(self.targets[number])
                self.done.add(number)
        except IndexError:  # all are begun
            return
        except (OSError, EOFError):
            self.left.clear()

    def _tell(self, line: str) -> None:
        file = cast("IO[bytes]", self.process.stdin)
        file.write(line.encode() + b"\n")
        file.flush()

    def _receive(self, target: memoryview) -> None:
        if cast("io.BufferedReader", self.process.stdout).readinto(target) < len(target):
            raise EOFError

    def wait(self) -> None:
        """Until there is nothing left to be begun, and what was begun is done."""
        if self.thread.is_alive():
            self.thread.join()

    def end(self) -> None:
        """End the process, whatever it does, and leave nothing of it."""
        self.process.kill()
        self.wait()  # the thread reads to an end now
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what it has not read cannot be flushed
                cast("IO[bytes]", pipe).close()


def _start() -> subprocess.Popen[bytes]:
    """A process that waits for its job."""
    # Ctrl-C is for the process that the user started, which ends the others; and imports are to
    # find what they find here, without the working directory (-P) where that is not looked in.
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    command = [sys.executable, "-P", "-m", "ditbench.data.decode_worker"]
    environment = {**os.environ, "PYTHONPATH": paths}
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    if sys.platform == "win32":
        return subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=null,
            env=environment,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=null, env=environment, process_group=0
    )
