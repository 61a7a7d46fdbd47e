"""Compiled training that needs no C++ compiler."""

import pytest
import torch


@pytest.fixture
def without_cpp(monkeypatch):
    """Training is compiled without C++, from a clean slate: other tests' would be found."""
    from torch._dynamo.utils import counters

    from ditbench.training import compiled

    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    compiled.obstacle_to_compiling.cache_clear()
    yield
    compiled.obstacle_to_compiling.cache_clear()
