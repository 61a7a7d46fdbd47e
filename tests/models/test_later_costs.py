"""What the strategies since 2022 cost, against published sizes and against formulas."""

import pytest

from ditbench.models.cost import count
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import parse_model

LATENT = {"height": 32, "width": 32, "channels": 4}
LATER = [name for name in block_names() if name not in block_names("paper")]


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


def macs_of_later_blocks(block, T, L):
    """Multiply-accumulates of L blocks beyond attention and MLP over T tokens, by formulas."""
    D, r, K, C = 64, 16, 4, 32  # width, rank, class tokens of most and of in-context-class
    late = (L - L // 3) * (12 * C * D * D + 2 * ((T + C) ** 2 - T * T) * D)
    meeting = 2 * ((T + K) ** 2 - T * T) * D
    return {
        "adaln-gate": L * 6 * D * D,
        "adaln-zero-init": L * 4 * D * D,
        "u-vit": L * (24 * D * D + 2 * ((T + 2) ** 2 - T * T) * D)
        + (L - 1) // 2 * 2 * D * D * (T + 2),
        "adaln-single": 6 * D * D,
        "adaln-lora": 6 * D * D + L * (D * r + r * 6 * D),
        "in-context-class": L * 6 * D * D + late,
        "hybrid": L * (6 * D * D + 2 * T * D * D + 2 * K * D * D + 2 * T * K * D),
        "joint": (L - 1) * (12 * D * D + 12 * K * D * D + meeting)
        + (8 * D * D + 2 * K * D * D + 2 * T * K * D),
        "no-time": L * 6 * D * D,
        "none": 0,
    }[block]


@pytest.mark.parametrize(
    "block", [name for name in block_names() if name not in block_names("paper")]
)
@pytest.mark.parametrize("L", [3, 6])
def test_the_cost_against_formulas(block, L):
    D, T = 64, 24
    cost = count(
        block_class(block), parse_model(f"{D}x{L}x4/2"),
        height=12, width=8, channels=3, out_channels=6, num_classes=10,
    )  # fmt: skip
    strategy = block_class(block)
    base = L * (12 * T * D * D + 2 * T * T * D) + T * 4 * 3 * D + T * D * 4 * 6
    base += (256 * D + D * D) * strategy.reads_timestep
    base += 2 * D * D * strategy.adaptive_final_layer
    assert cost.gmacs * 1e9 == pytest.approx(base + macs_of_later_blocks(block, T, L), rel=1e-12)
