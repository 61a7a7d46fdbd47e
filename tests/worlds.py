"""Several processes on the CPU that train together, as torchrun would start them."""

import gc
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import traceback
from importlib import import_module
from multiprocessing import context, popen_fork, popen_spawn_posix
from multiprocessing.reduction import ForkingPickler
from multiprocessing.resource_tracker import getfd
from types import SimpleNamespace

# What a run imports, which takes seconds: once, not in each process.
IMPORTED = (
    *("sklearn.datasets", "torch._dynamo", "ditbench.runs.run"),
    *("ditbench.metrics.scores.fid", "ditbench.metrics.features.classifiers"),
)


class _Launch(popen_fork.Popen):
    """Forks a process that knows what a spawned one does, but has imported everything."""

    DupFd = popen_spawn_posix.Popen.DupFd

    def duplicate_for_child(self, fd):
        self.given.append(os.dup(fd))
        return self.given[-1]

    def _launch(self, process_obj):
        for name in IMPORTED:
            import_module(name)
        self.given = []
        context.set_spawning_popen(self)
        try:
            content = bytes(ForkingPickler.dumps(process_obj))
        finally:
            context.set_spawning_popen(None)

        def bootstrap(parent_sentinel):
            forget({0, 1, 2, getfd(), parent_sentinel, *self.given})
            return pickle.loads(content)._bootstrap(parent_sentinel=parent_sentinel)

        super()._launch(SimpleNamespace(_bootstrap=bootstrap))
        for file in self.given:
            os.close(file)


def forget(files):
    """Let this process forget what it has from a fork alone, all open files but these included."""
    from ditbench.plugins import lookup

    lookup._EXTERNAL.clear()
    gc.freeze()  # to free an object that has a thread would wait for it, and it is not here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for file in {int(name) for name in os.listdir("/proc/self/fd")} - files - {nothing}:  # noqa: PTH208
        os.dup2(nothing, file)  # not closed: an object of the other process may close the number
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115


class ForkedProcess(multiprocessing.Process):
    """A process that has imported everything, and otherwise knows what a spawned one does."""

    @staticmethod
    def _Popen(process_obj):  # noqa: N802
        return _Launch(process_obj)


class ForkedContext(context.ForkContext):
    _name = "spawn"  # locks are sent to its processes
    Process = ForkedProcess


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def in_world(size, function, *arguments):
    """What `function(world, *arguments)` returns in each of `size` new processes, by rank."""
    context = ForkedContext()
    answers = context.Queue()
    port = free_port()
    processes = [
        context.Process(target=_work, args=(rank, size, port, answers, function, arguments))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    for rank in range(size):
        assert not isinstance(found[rank], str), found[rank]
    return [found[rank] for rank in range(size)]


def _work(rank, size, port, answers, function, arguments):
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), TORCHELASTIC_RUN_ID="test",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    try:
        import torch

        from ditbench.world import join

        torch.set_num_threads(1)
        answers.put((rank, function(join(torch.device("cpu")), *arguments)))
    except BaseException:
        answers.put((rank, traceback.format_exc()))
        raise
