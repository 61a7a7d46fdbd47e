"""Shared by all tests: one thread, and a cache directory of the test suite."""

import os
import sys
from pathlib import Path

import pytest

# Models in tests are tiny: threads would make them slower. Set before torch is imported, and in the
# environment, so that processes started by tests inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# Without a GPU, Triton kernels are interpreted; Triton reads this when it is imported.
if not Path("/dev/nvidia0").exists():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["DITBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _forks_differentiate():
    """Run one backward pass before torch.compile traces any.

    Some tests fork processes that train. If a trace comes first, torch assumes that the process has
    autograd threads for devices, and refuses every backward pass after a fork.
    """
    if "torch" in sys.modules:  # imported by some test that was collected
        sys.modules["torch"].ones(1, requires_grad=True).sum().backward()


@pytest.fixture
def global_stream_untouched():
    """Fail a test that draws from the global random stream of torch, directly or not."""
    import torch

    torch.manual_seed(0)
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)
