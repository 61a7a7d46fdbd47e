"""A stand-in for a network: any smooth function of x, t and y whose outputs differ by channel."""

import pytest
import torch


class ToyModel:
    """Counts its calls and keeps the last arguments; `out_channels` may exceed those of x."""

    def __init__(self, out_channels):
        self.out_channels = out_channels
        self.calls = []

    def __call__(self, x, t, y):
        self.calls.append((x, t, y))
        k = torch.arange(self.out_channels, device=x.device)
        wide = x[:, k % x.shape[1]]  # (N, C_out, H, W)
        phase = 0.3 * k.view(1, -1, 1, 1) + 0.001 * t.view(-1, 1, 1, 1) + y.view(-1, 1, 1, 1)
        return torch.sin(1.7 * wide + phase)


@pytest.fixture
def toy_model():
    return ToyModel


@pytest.fixture(autouse=True)
def _untouched(global_stream_untouched):
    """No test of this folder may draw from torch's global stream, and so nothing that it calls."""
