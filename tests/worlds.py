"""Several processes on the CPU that train together, as torchrun would start them."""

import multiprocessing
import os
import socket
import traceback

# What a run imports, which takes seconds.
IMPORTED = [
    *("pytest", "sklearn.datasets", "torch._dynamo", "ditbench.runs.run"),
    *("ditbench.metrics.scores.fid", "ditbench.metrics.features.classifiers"),
]


def forking():
    """The context of new processes that are forked from a server, which has imported that once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def in_world(size, function, *arguments):
    """What `function(world, *arguments)` returns in each of `size` new processes, by rank."""
    context = forking()
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
