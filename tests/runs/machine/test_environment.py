"""The device of a run."""

import pytest
import torch

from ditbench.runs.machine.environment import select_device


@pytest.mark.parametrize(("name", "current"), [("cuda:1", ["cuda:1"]), ("cuda", []), ("cpu", [])])
def test_a_device_that_is_chosen_becomes_the_current_one(monkeypatch, name, current):
    """Streams and kernels would otherwise be those of the first GPU."""
    selected = []
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(()))  # no GPU is here to ask
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: selected.append(str(device)))
    assert str(select_device(name)) == name
    assert selected == current
