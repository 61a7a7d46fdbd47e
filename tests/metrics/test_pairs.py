import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scoring import unbiased_mmd

from ditbench.metrics import pairs
from ditbench.metrics.pairs import (
    kth_distances,
    mean_kernel,
    mean_kernel_within,
    nearest,
    nearest_other,
)


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 9), st.integers(1, 200))
def test_all_are_what_scipy_finds_whatever_the_chunks(n, m, f, chunk):
    x, y = normal(n, n, f), normal(m + 99, m, f)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "CHUNK", chunk)
        between = cdist(x, y)
        assert nearest(x, y).numpy() == pytest.approx(between.min(1))
        to_others = np.sort(cdist(x, x) + np.diag(np.full(n, np.inf)), axis=1)
        assert nearest_other(x).numpy() == pytest.approx(to_others[:, 0])
        assert kth_distances(x, 5).numpy() == pytest.approx(to_others[:, min(5, n - 1) - 1])
        mmd = mean_kernel_within(x) + mean_kernel_within(y) - 2 * mean_kernel(x, y)
        assert float(mmd) == pytest.approx(unbiased_mmd(x.numpy(), y.numpy()), abs=1e-9)


def test_a_copy_is_at_distance_0_far_from_the_origin():
    """A matrix product alone would find 1e-3 here."""
    x = normal(1, 200, 64) + 1e5
    assert (nearest(x[:50], x) == 0).all()
    assert (nearest_other(torch.cat([x, x])) == 0).all()


def test_float32_rows_are_taken_as_they_are(monkeypatch):
    x, y = normal(1, 30, 4).float(), normal(2, 20, 4)
    monkeypatch.setattr(pairs, "CHUNK", 100)
    assert mean_kernel(x, y).dtype == torch.float64
    assert float(mean_kernel(x, y)) == float(mean_kernel(x.double(), y))


def test_one_vector_has_no_other():
    assert nearest_other(normal(1, 1, 4)).isinf().all()
    assert kth_distances(normal(1, 1, 4), 5).isinf().all()
    assert mean_kernel_within(normal(1, 1, 4)).isnan()
