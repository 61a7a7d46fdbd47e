"""What every test shares: one thread, and a cache of the suite's own."""

import os
from pathlib import Path

import pytest

# Models in tests are tiny: threads would cost more than they give. Set before torch is imported,
# and in the environment, so that processes started by tests do the same.
os.environ["OMP_NUM_THREADS"] = "1"
# Without a GPU, Triton's kernels are interpreted; it asks when it is imported.
if not Path("/dev/nvidia0").exists():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["DITBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def global_stream_untouched():
    """Fail a test that draws from torch's global stream, itself or in what it calls."""
    import torch

    torch.manual_seed(0)
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)
