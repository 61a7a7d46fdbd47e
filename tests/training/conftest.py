"""Compiled training that needs no C++ compiler; a run that was killed, and one that was not."""

import shutil
from functools import partial

import pytest
import torch
from recorder import at_row, leave_at


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


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every row of the log."""
    from ditbench.training import checkpoint

    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE_OF_TIME", 1e9)


@pytest.fixture
def broken(make_plan, often, made):
    """A run that was killed after the row of step 5: its checkpoints are two of step 4."""
    plan, copy = make_plan(), made / "broken"
    if copy.exists():
        shutil.copytree(copy, plan.directory.path)
    else:
        leave_at(plan, at_row(5))
        shutil.copytree(plan.directory.path, copy)
    return plan


@pytest.fixture
def whole(make_plan, made):
    """The same run, uninterrupted: read only."""
    from ditbench.runs.run import execute

    plan = make_plan(out=made / "whole")
    execute(plan)  # what is complete is not run again
    return plan
