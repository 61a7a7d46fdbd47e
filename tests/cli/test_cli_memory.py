"""Too little memory for a model that is sampled: a line, and an option that the command has."""

from unittest.mock import Mock

import pytest
import torch

from ditbench.objectives.base import Objective


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("sample", "help: end other programs that use the device, or pass --device cpu"),
        ("sample --export out", "help: end other programs that use the device, or pass"),
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
