"""The cost of models, against published numbers and torch's counter."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import parse_model

LATENT = {"height": 32, "width": 32, "channels": 4}
# Peebles & Xie 2022, arXiv 2212.09748, Table 4: model, input, Gflops, parameters in millions,
# block. The paper's Gflops are multiply-accumulates.
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


@pytest.mark.parametrize(("size", "classes", "millions"), [
    ("512x13x8/2", 0, 44), ("768x17x12/4", 1001, 131), ("1024x21x16/4", 1001, 287),
    ("1152x29x16/4", 1001, 501),
])  # fmt: skip
def test_u_vit_has_the_published_numbers_of_parameters(size, classes, millions):
    """Bao et al. 2022, S, M, L and H. Theirs have no timestep embedder, positions of their own and
    a convolution, which are small."""
    shape = parse_model(size)
    width = shape.hidden_size
    cost = count(block_class("u-vit"), size=shape, **LATENT, num_classes=1000)
    embedders = 256 * width + width + width * width + width + 1001 * width
    assert (cost.parameters - embedders + classes * width) / 1e6 == pytest.approx(millions, abs=0.7)


def test_adaln_single_has_the_published_number_of_parameters():
    """PixArt-α's 611 M, Chen et al. 2023, Table 1: the cross-attention and what reads the text
    added, what is of the class and of the final layer's regression taken off."""
    width, depth, text = 1152, 28, 4096
    cost = count(block_class("adaln-single"), size=parse_model("XL/2"), **LATENT)
    cross = depth * (4 * width * width + 4 * width)
    reader = text * width + width + width * width + width
    classes, regression = 1001 * width, 2 * width * width
    assert round((cost.parameters + cross + reader - classes - regression) / 1e6) == 611


def test_adaln_lora_has_the_published_number_of_parameters():
    """FiTv2-XL/2, Wang et al. 2024: 36 blocks of 1152, rank 288, 671 M."""
    size = parse_model("1152x36x16/2")
    assert block_class("adaln-lora").options(size) == {"lora_rank": 288}
    cost = count(block_class("adaln-lora"), size=size, **LATENT, out_channels=4)
    assert round(cost.parameters / 1e6) == 671


@pytest.mark.parametrize("block", block_names())
@pytest.mark.parametrize(
    ("name", "switches"),
    [("64x3x4/2", {}), ("48x2x3/1", {"qk_norm": True, "norm": "rms", "registers": 3})],
)
def test_the_counter_against_torch_s_on_the_meta_device(block, name, switches):
    shape = {"height": 12, "width": 8, "channels": 3, "out_channels": 6, "num_classes": 10}
    with torch.device("meta"):
        model = DiT(block_class(block), parse_model(name), **shape, **switches)
        inputs = torch.empty(1, 3, 12, 8), torch.empty(1), torch.empty(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(*inputs)
    cost = count(block_class(block), parse_model(name), **shape, **switches)
    assert cost.gflops * 1e9 == pytest.approx(counter.get_total_flops(), rel=1e-12)
    assert cost.parameters == sum(weight.numel() for weight in model.parameters())


def test_training_is_three_forward_passes():
    cost = count(block_class("adaln"), parse_model("S/4"), height=32, width=32, channels=3)
    assert cost.train_flops_per_image == pytest.approx(3 * 2 * cost.gmacs * 1e9)


class InPlace(block_class("none")):
    """Modifies the result of a product without a bias, and that of attention."""

    def forward(self, x, c):
        h = self.attn(x)
        h += x
        h = h @ h.transpose(1, 2)
        h[:, 0] = 0
        return x + h.mean(-1, keepdim=True)


def test_a_block_may_modify_what_products_return():
    plain, modified = (count(kind, parse_model("S/4"), height=32, width=32, channels=3)
                       for kind in (block_class("none"), InPlace))  # fmt: skip
    assert 0 < modified.gmacs < plain.gmacs  # it has no MLP


def test_one_thread_counts_and_the_others_come_back():
    threads, seen = torch.get_num_threads(), []

    class Watched(block_class("none")):
        def forward(self, x, c):
            seen.append(torch.get_num_threads())
            return super().forward(x, c)

    torch.set_num_threads(2)
    try:
        count(Watched, parse_model("S/4"), height=32, width=32, channels=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {1}
