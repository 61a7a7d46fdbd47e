"""The published numbers: Peebles & Xie 2022, arXiv 2212.09748, Table 4."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import parse_model

# model, input, Gflops, parameters in millions, block. The paper's Gflops are multiply-accumulates.
TABLE_4 = [
    ("S/8", 32, 0.36, 33, "adaln-zero"),
    ("S/4", 32, 1.41, 33, "adaln-zero"),
    ("S/2", 32, 6.06, 33, "adaln-zero"),
    ("B/8", 32, 1.42, 131, "adaln-zero"),
    ("B/4", 32, 5.56, 130, "adaln-zero"),
    ("B/2", 32, 23.01, 130, "adaln-zero"),
    ("L/8", 32, 5.01, 459, "adaln-zero"),
    ("L/4", 32, 19.70, 458, "adaln-zero"),
    ("L/2", 32, 80.71, 458, "adaln-zero"),
    ("XL/8", 32, 7.39, 676, "adaln-zero"),
    ("XL/4", 32, 29.05, 675, "adaln-zero"),
    ("XL/2", 32, 118.64, 675, "adaln-zero"),  # the rows at 400K, 2352K and 7000K steps
    ("XL/2", 32, 119.37, 449, "in-context"),
    ("XL/2", 32, 137.62, 598, "cross-attention"),
    ("XL/2", 32, 118.56, 600, "adaln"),
    ("XL/2", 64, 524.60, 675, "adaln-zero"),  # 512 pixels, the rows at 1301K and 3000K steps
]


@pytest.mark.parametrize(("model", "side", "gflops", "millions", "block"), TABLE_4)
def test_cost_of_every_row_of_table_4(model, side, gflops, millions, block):
    cost = count(block_class(block), parse_model(model), height=side, width=side, channels=4)
    tolerance = 0.1 if side == 64 else 0.05 if gflops > 2 else 0.01 * gflops
    assert cost.gmacs == pytest.approx(gflops, abs=tolerance)
    assert cost.gflops == 2 * cost.gmacs
    assert round(cost.parameters / 1e6) == millions


@pytest.mark.parametrize(
    ("block", "gmacs", "millions"),
    [
        ("in-context", 119.35, 449.0),
        ("cross-attention", 137.60, 597.8),
        ("adaln", 118.55, 600.5),
        ("adaln-zero", 118.62, 674.8),
    ],
)
def test_cost_of_the_four_to_the_next_digit(block, gmacs, millions):
    cost = count(block_class(block), parse_model("XL/2"), height=32, width=32, channels=4)
    assert cost.gmacs == pytest.approx(gmacs, abs=0.006)
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.05)


def macs_by_hand(block, D, depth, T, P, channels, out_channels, ratio=4):
    """Multiply-accumulates from the formulas of the layers, written out again."""
    S = T + 2 if block == "in-context" else T  # tokens that the blocks see
    attention = 4 * S * D * D + 2 * S * S * D
    mlp = 2 * S * ratio * D * D
    cross = 2 * T * D * D + 2 * 2 * D * D + 2 * 2 * T * D
    extra = {
        "in-context": 0,
        "cross-attention": cross,
        "adaln": 4 * D * D,
        "adaln-zero": 6 * D * D,
    }[block]
    final = T * D * P * P * out_channels + (2 * D * D if "adaln" in block else 0)
    embed = T * P * P * channels * D + 256 * D + D * D
    return depth * (attention + mlp + extra) + final + embed


@pytest.mark.parametrize("block", ["in-context", "cross-attention", "adaln", "adaln-zero"])
def test_the_counter_against_formulas(block):
    size = parse_model("64x3x4/2")
    shape = {"height": 12, "width": 8, "channels": 3, "out_channels": 6, "num_classes": 10}
    cost = count(block_class(block), size, **shape)
    expected = macs_by_hand(block, D=64, depth=3, T=24, P=2, channels=3, out_channels=6)
    assert cost.gmacs * 1e9 == pytest.approx(expected, rel=1e-12)
    model = DiT(block_class(block), size, **shape)
    assert cost.parameters == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("block", block_names())
@pytest.mark.parametrize("name", ["64x3x4/2", "48x2x3/1"])
def test_the_counter_against_torch_s_on_the_meta_device(block, name):
    shape = {"height": 12, "width": 8, "channels": 3, "out_channels": 6, "num_classes": 10}
    with torch.device("meta"):
        model = DiT(block_class(block), parse_model(name), **shape)
        inputs = torch.empty(1, 3, 12, 8), torch.empty(1), torch.empty(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(*inputs)
    flops = count(block_class(block), parse_model(name), **shape).gflops * 1e9
    assert flops == pytest.approx(counter.get_total_flops(), rel=1e-12)


def test_training_is_three_forward_passes():
    cost = count(block_class("adaln"), parse_model("S/4"), height=32, width=32, channels=3)
    assert cost.train_flops_per_image == pytest.approx(3 * 2 * cost.gmacs * 1e9)
