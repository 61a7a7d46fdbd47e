"""A run so small that a test can afford it."""

import pytest
import torch

from ditbench.config import load
from ditbench.training.plan import plan

TINY = {
    "model.hidden_size": 16,
    "model.depth": 2,
    "model.num_heads": 2,
    "train.batch_size": 16,
    "budget.steps": 6,
    "eval.points": 3,
    "eval.samples": 40,
    "eval.sampling_steps": 2,
    "eval.batch_size": 16,
}


@pytest.fixture
def make_plan(tmp_path):
    """Plan a tiny run on the CPU; keyword arguments are dotted keys with `__` for the dot."""

    def make(compiling="off", out=tmp_path / "results", **values):
        tiny = TINY
        if any(key.startswith("budget__") for key in values):  # one budget only
            tiny = {key: value for key, value in TINY.items() if key != "budget.steps"}
        overrides = tiny | {key.replace("__", "."): value for key, value in values.items()}
        return plan(load("digits", overrides=overrides), out, torch.device("cpu"), compiling)

    return make


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
