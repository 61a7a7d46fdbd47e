"""Precisions of a model, and bf16 weights for many passes."""

import torch
from torch import nn

from ditbench.training.device.precision import bf16_weights, mixed_precision


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))


def test_bf16_weights_give_what_autocast_gives_and_are_restored():
    network, x = model(), torch.randn(5, 8)
    before = [weight.data for weight in network.parameters()]
    with torch.no_grad(), mixed_precision(torch.device("cpu"), "bf16"):
        expected = network(x)
        with bf16_weights(network):
            assert network[0].weight.dtype == network[2].bias.dtype == torch.bfloat16
            assert network[1].weight.dtype == torch.float32
            assert torch.equal(network(x), expected)
    for weight, data in zip(network.parameters(), before, strict=True):
        assert weight.data_ptr() == data.data_ptr()
        assert weight.dtype == torch.float32


def test_weights_are_restored_after_an_error():
    network = model()
    try:
        with bf16_weights(network):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert network[0].weight.dtype == torch.float32


def test_fp32_computes_in_float32():
    with mixed_precision(torch.device("cpu"), "fp32"):
        assert model()(torch.randn(2, 8)).dtype == torch.float32
