"""Too little memory for a model that is sampled: a line, and an option that the command has."""

from unittest.mock import Mock

import pytest
import torch

from ditbench.errors import LESS_MEMORY
from ditbench.objectives.base import Objective


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("sample", f"help: {LESS_MEMORY}"),
        ("sample --export out", f"help: {LESS_MEMORY}"),
        ("eval --samples 50 --batch-size 16", "help: lower the batch size: --batch-size 8"),
    ],
)
def test_what_needs_less_memory(cli, one_run, elsewhere, monkeypatch, command, hint):
    failure = Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(Objective, "sample", failure)
    result = cli(*command.split(), one_run)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit), result.exception
    first, second = result.stderr.splitlines()[-2:]
    assert "cpu ran out of memory: batch size" in first
    assert first.endswith(" in sampling, fp32")
    assert second.startswith(hint)


ERRORS = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried\nto"), "error: CUDA out of memory. Tried"),
    (
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory"),
        "error: [enforce",
    ),
    (MemoryError(), "error: out of memory"),
]


@pytest.mark.parametrize(("error", "line"), ERRORS)
def test_memory_that_any_other_step_lacks(mistake, elsewhere, monkeypatch, error, line):
    monkeypatch.setattr("ditbench.runs.planning.plan.load_dataset", Mock(side_effect=error))
    first, second = mistake("run", "--block", "none", "--steps", "20", code=1)
    assert first.startswith(line)
    assert second == f"help: {LESS_MEMORY}"


def test_a_full_gpu_is_not_called_missing(mistake, elsewhere, monkeypatch):
    monkeypatch.setattr(torch, "zeros", Mock(side_effect=ERRORS[0][0]))
    first, _ = mistake("run", "--block", "none", "--device", "cuda", code=1)
    assert first == "error: the device 'cuda' has no free memory"
