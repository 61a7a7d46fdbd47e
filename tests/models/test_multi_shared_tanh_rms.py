"""`in-context-multi`, `adaln-shared`, `adaln-tanh`, `ada-rms` against diffusers and formulas."""

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.normalization import LuminaLayerNormContinuous
from diffusers.models.transformers.transformer_flux2 import Flux2Modulation
from diffusers.models.transformers.transformer_z_image import ZImageTransformerBlock
from test_later_blocks import attention, norm, pixart_twin, plain, random_model
from tiny import HEADS, D, N, cost, run_blocks

from ditbench.models.registry import block_class
from ditbench.models.sizes import parse_model


def test_in_context_multi_by_its_formula(x, c):
    """As released, condition tokens come before the image's; ours come after them."""
    model = random_model("in-context-multi", options={"class_tokens": 3, "time_tokens": 2})
    classes = c.c[:, None] + model.shared.class_positions.weight
    times = c.t[:, None] + model.shared.time_positions.weight
    assert (classes.shape, times.shape) == ((N, 3, D), (N, 2, D))
    sequence = torch.cat([classes, times, x], dim=1)
    for block in model.blocks:
        sequence = plain(block, sequence)
    torch.testing.assert_close(run_blocks(model, x, c), sequence[:, 5:])


def test_in_context_multi_with_one_token_each_and_no_positions_is_in_context(x, c):
    multi = random_model("in-context-multi", options={"class_tokens": 1, "time_tokens": 1})
    single = random_model("in-context")
    state = multi.state_dict()
    positions = [state.pop(f"shared.{name}_positions.weight") for name in ("time", "class")]
    single.load_state_dict(state)
    for each in positions:
        each.zero_()
    torch.testing.assert_close(run_blocks(multi, x, c), run_blocks(single, x, c))


@pytest.mark.parametrize(("size", "gflops", "millions"), [
    ("B/2", 24.9, 89), ("1024x32x16/2", 116.4, 409), ("1024x48x16/2", 174.6, 610),
])  # fmt: skip
def test_in_context_multi_has_the_published_cost(size, gflops, millions):
    """Geng et al. 2025, iMF-B, L and XL: 20 tokens, 8 of them of the guidance scale and its
    interval, which have three more embedders, as the time has. SwiGLU's width is rounded."""
    shape, tokens = parse_model(size), {"class_tokens": 16, "time_tokens": 4}
    found = cost("in-context-multi", size, out_channels=4, options=tokens)
    width = shape.hidden_size
    embedders = 3 * (256 * width + width + width * width + width)
    assert found.gmacs == pytest.approx(gflops, rel=0.003)
    assert (found.parameters + embedders) / 1e6 == pytest.approx(millions, abs=1)


def test_adaln_shared_equals_diffusers(x, c):
    """Flux 2's modulation, and PixArt's block with a table of zeros."""
    model = random_model("adaln-shared")
    modulation = Flux2Modulation(D, mod_param_sets=2, bias=True).double()
    modulation.linear.load_state_dict(model.shared.adaLN_modulation[1].state_dict())
    expected = x
    for block in model.blocks:
        assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"attn", "mlp"}
        twin = pixart_twin(block)
        twin.scale_shift_table.data.zero_()
        expected = twin(expected, timestep=modulation(c.t + c.c))
    torch.testing.assert_close(run_blocks(model, x, c), expected)


def test_adaln_shared_saves_what_the_paper_says():
    """Chen et al. 2025, Table 2: 902 M with one modulation per layer and 631 M with a shared one,
    of 18 layers 1152 wide, with two streams, each with modulations of its own."""
    each, shared = (cost(name, "1152x18x18/2") for name in ("adaln-zero", "adaln-shared"))
    assert 2 * (each.parameters - shared.parameters) / 1e6 == pytest.approx(902 - 631, abs=1)


def z_image_twin(block):
    """Z-Image's block with the weights of ours, which has biases, and other layers in the MLP."""
    rank = block.adaLN_modulation.in_features
    twin = ZImageTransformerBlock(0, D, HEADS, HEADS, norm_eps=1e-6, qk_norm=False).double()
    assert twin.adaLN_modulation[0].in_features == rank
    twin.adaLN_modulation[0].load_state_dict(block.adaLN_modulation.state_dict())
    block.attn.qkv.bias.data.zero_()
    block.attn.proj.bias.data.zero_()
    for name, weight in zip("qkv", block.attn.qkv.weight.chunk(3), strict=True):
        getattr(twin.attention, f"to_{name}").weight.data = weight
    twin.attention.to_out[0].weight.data = block.attn.proj.weight
    twin.feed_forward = block.mlp
    twin.attention_norm2.load_state_dict(block.attn_norm.state_dict())
    twin.ffn_norm2.load_state_dict(block.mlp_norm.state_dict())
    return twin


def test_adaln_tanh_equals_diffusers_z_image(x, c):
    """As there: RMS norms before the branches, too, and a conditioning of min(D, 256) numbers."""
    model = random_model("adaln-tanh", options={"modulation_rank": D}, norm="rms")
    conditioning = model.shared.down(F.silu(c.t + c.c))
    expected = x
    for block in model.blocks:
        expected = z_image_twin(block)(expected, None, None, conditioning)
    found = run_blocks(model, x, c)  # diffusers computes RMS norms in float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - x).abs().max() > 0.5


def test_the_gates_of_adaln_tanh_are_bounded(x, c):
    """A branch adds at most its gain times √D to a channel, whatever the regression says."""
    model = random_model("adaln-tanh", depth=1)
    block = model.blocks[0]
    with torch.no_grad():
        block.adaLN_modulation.weight.mul_(1000)
        added = run_blocks(model, x, c) - x
        gains = block.attn_norm.weight.abs() + block.mlp_norm.weight.abs()
    assert (added.square().mean((0, 1)).sqrt() <= gains * D**0.5).all()
    assert added.abs().max() > 1


def test_adaln_tanh_has_the_published_modulation():
    """Z-Image: 256 numbers of conditioning and 3,840 of a token. Its attention and MLP have no
    biases; the second norms have gains, as here."""
    options = {"modulation_rank": 256}
    with torch.device("meta"):
        theirs = ZImageTransformerBlock(0, 3840, 30, 30, norm_eps=1e-5, qk_norm=True)
    parts = (theirs.adaLN_modulation, theirs.attention_norm2, theirs.ffn_norm2)
    of_block = sum(weight.numel() for part in parts for weight in part.parameters())
    one, two = (
        cost("adaln-tanh", f"3840x{depth}x30/2", options=options).parameters
        - cost("none", f"3840x{depth}x30/2").parameters
        for depth in (1, 2)
    )
    assert two - one == of_block


def test_ada_rms_equals_diffusers_scaled_rms_norms(x, c):
    model = random_model("ada-rms")
    expected = x
    for block in model.blocks:
        norms = []
        for part in range(2):
            scaled = LuminaLayerNormContinuous(
                D, D, elementwise_affine=False, eps=1e-6, norm_type="rms_norm"
            ).double()
            for kind in ("weight", "bias"):
                half = getattr(block.adaLN_modulation[1], kind).chunk(2)[part]
                getattr(scaled.linear_1, kind).data = half
            norms.append(scaled)
        y = norms[0](expected, c.t + c.c)
        expected = expected + block.attn.proj(attention(*block.attn.qkv(y).chunk(3, -1)))
        expected = expected + block.mlp(norms[1](expected, c.t + c.c))
    found = run_blocks(model, x, c)  # diffusers computes RMS norms in float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_ada_rms_leaves_the_final_norm_to_the_model(x, c, kind):
    model = random_model("ada-rms", norm=kind)
    assert model.final_layer.adaLN_modulation is None
    assert block_class("ada-rms").final_vector(c) is None
    y = norm(x) if kind == "layer" else F.rms_norm(x, (D,), eps=1e-6)
    torch.testing.assert_close(model.final_layer(x, None), model.final_layer.linear(y))


@pytest.mark.parametrize(("block", "vectors"), [("ada-rms", 2), ("adaln-zero-init", 4)])
def test_a_modulation_has_one_regression_per_vector(block, vectors):
    """ada-rms regresses half of what adaLN does, and nothing for the final layer."""
    modulation = cost(block, "S/2").parameters - cost("in-context", "S/2").parameters
    final = 0 if block == "ada-rms" else 2 * (384 * 384 + 384)
    assert modulation - final == 12 * vectors * (384 * 384 + 384)
