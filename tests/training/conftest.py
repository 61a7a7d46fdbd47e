"""Compiled training that needs no C++ compiler."""

from functools import partial

import pytest
import torch


@pytest.fixture
def compile_with(monkeypatch):
    """Let torch compile with another of its backends, from a clean state."""
    from torch._dynamo.utils import counters

    from ditbench.training.device import compile as compiler

    def forget():
        torch._dynamo.reset()
        counters.clear()
        compiler._compiled.cache_clear()
        compiler.unavailable_reason.cache_clear()

    original = torch.compile

    def use(backend):
        forget()
        monkeypatch.setattr(torch, "compile", partial(original, backend=backend))

    yield use
    forget()


@pytest.fixture
def without_cpp(compile_with):
    """torch traces and differentiates, but generates no code."""
    compile_with("aot_eager")
