"""Errors while a CUDA graph is recorded. That replays equal calls is tested on a GPU."""

import gc
from contextlib import contextmanager, nullcontext
from traceback import extract_tb

import pytest
import torch

from ditbench.training.device.graph import WARM_UP, CudaGraph, NotRecordable, _first_error


@contextmanager
def recording():
    """As torch's: what fails within makes its end fail too."""
    try:
        yield
    finally:
        raise RuntimeError("operation failed due to a previous error during capture")


def wait_for_the_device():
    raise RuntimeError("operation not permitted when stream is capturing")


def test_a_forbidden_operation_is_reported_with_its_line():
    raises = pytest.raises(NotRecordable, match="in which nothing may wait")
    with raises as caught, _first_error(), recording():
        wait_for_the_device()
    assert extract_tb(caught.value.__traceback__)[-1].name == "wait_for_the_device"


@pytest.mark.parametrize("kind", [ValueError, torch.OutOfMemoryError])
def test_other_errors_are_raised_unchanged(kind):
    with pytest.raises(kind, match="mine"), _first_error(), recording():
        raise kind("mine")


def test_an_error_at_the_end_of_a_capture_is_raised_unchanged():
    with pytest.raises(RuntimeError, match="a previous error"), _first_error(), recording():
        pass


class OneStream:
    def wait_stream(self, stream):
        pass


class Replayed:
    """Stands in for a recorded graph."""

    def replay(self):
        pass


def test_no_garbage_is_collected_while_a_graph_is_recorded(monkeypatch):
    """Garbage may hold a graph, and to free one is forbidden meanwhile."""
    for name, stands_in in {
        "Stream": lambda _device: OneStream(),
        "current_device": lambda: 0,
        "current_stream": OneStream,
        "stream": lambda _stream: nullcontext(),
        "CUDAGraph": Replayed,
        "graph": lambda *_given, **_named: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stands_in)
    seen = []
    graph = CudaGraph(lambda x: (seen.append(gc.isenabled()), x)[1], ())
    for _ in range(WARM_UP + 2):
        graph(torch.ones(1))
    assert seen == [True] * WARM_UP + [False]
    assert gc.isenabled()
