"""`rotation`, `time-qkv` and `shift-skip` against diffusers and against their formulas."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.hunyuan_transformer_2d import HunyuanDiT2DModel, HunyuanDiTBlock
from test_later_blocks import attention, copy_mlp, copy_self_attention, norm, random_model
from tiny import HEADS, SIZE, D, N, cost, inputs, make, randomized, run_blocks, tokens

from ditbench.models.blocks.base import Conditioning
from ditbench.models.blocks.rotation import rotate
from ditbench.models.dit import DiT
from ditbench.models.registry import block_class
from ditbench.models.sizes import parse_model


def angles(scale=3.0):
    draws = torch.Generator().manual_seed(7)
    return scale * torch.randn(N, 1, D // 2, generator=draws, dtype=torch.float64)


def test_rotate_equals_diffusers_rotary_embedding(x):
    """There an angle belongs to a position, here to an image."""
    turned = angles()
    for image, one in enumerate(turned):
        table = one.repeat_interleave(2, dim=-1).expand(len(x[image]), D)
        expected = apply_rotary_emb(x[image][None, None], (table.cos(), table.sin()))
        torch.testing.assert_close(rotate(x, turned)[image], expected[0, 0])


def test_rotations_keep_lengths_and_add_up(x):
    one, two = angles(), angles(2.0).flip(-1)
    torch.testing.assert_close(rotate(x, one).norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotate(rotate(x, one), two), rotate(x, one + two))
    assert torch.equal(rotate(x, torch.zeros_like(one)), x)


def test_rotation_by_its_formula(x, c):
    """A rotation by complex numbers."""
    model = random_model("rotation")
    expected = x
    for block in model.blocks:
        vectors = block.adaLN_modulation[1](F.silu(c.t + c.c))
        scale1, gate1, scale2, gate2 = vectors[:, None, : 4 * D].chunk(4, -1)
        phases = torch.polar(torch.ones(()).double(), vectors[:, None, 4 * D :]).chunk(2, -1)

        def turned(y, phase):
            pairs = torch.view_as_complex(y.view(*y.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * phase).flatten(-2)

        y = turned((1 + scale1) * norm(expected), phases[0])
        attended = attention(*block.attn.qkv(y).chunk(3, -1))
        expected = expected + gate1 * block.attn.proj(attended)
        y = turned((1 + scale2) * norm(expected), phases[1])
        expected = expected + gate2 * block.mlp(y)
    torch.testing.assert_close(run_blocks(model, x, c), expected)


@pytest.mark.parametrize("model", ["S/2", "S/4"])
def test_rotation_has_5_4_percent_fewer_parameters_than_adaln_zero(model):
    """Bill et al. 2025, abstract; their models are of size S."""
    fewer = 1 - cost("rotation", model).parameters / cost("adaln-zero", model).parameters
    assert round(100 * fewer, 1) == 5.4


def test_time_qkv_is_attention_to_tokens_joined_with_the_conditioning(x, c):
    """Hatamizadeh et al. 2023, after equation 5: a projection of [token; time]."""
    model = random_model("time-qkv")
    expected = x
    for block in model.blocks:
        of_token, of_time = block.attn.qkv, block.time_qkv
        W = torch.cat([of_token.weight, of_time.weight], dim=1)
        joined = torch.cat([norm(expected), c.vector[:, None].expand_as(expected)], dim=-1)
        qkv = joined @ W.T + of_token.bias + of_time.bias
        expected = expected + block.attn.proj(attention(*qkv.chunk(3, -1)))
        expected = expected + block.mlp(norm(expected))
    torch.testing.assert_close(run_blocks(model, x, c), expected)


@pytest.mark.parametrize(("qk_norm", "matters"), [(False, False), (True, True)])
def test_the_keys_part_of_the_conditioning_matters_to_normalised_keys_only(x, c, qk_norm, matters):
    model = random_model("time-qkv", qk_norm=qk_norm)
    before = run_blocks(model, x, c)
    with torch.no_grad():
        for block in model.blocks:
            block.time_qkv.weight[D : 2 * D].add_(1.0)
    assert ((run_blocks(model, x, c) - before).abs().max() > 1e-3) == matters


def test_time_qkv_has_the_published_cost():
    """Latent DiffiT, Hatamizadeh et al. 2023, Table 9: 561 M parameters, 114 G. The second is the
    number without the two products of attention."""
    of_xl = cost("time-qkv", "XL/2")
    assert round(of_xl.parameters / 1e6) == 561
    depth, token_count, width = 28, 16 * 16, 1152
    assert round(of_xl.gmacs - 2 * depth * token_count**2 * width / 1e9) == 114


def hunyuan_twin(block):
    """diffusers' block of Hunyuan-DiT with the weights of ours."""
    joins = block.skip_linear is not None
    twin = HunyuanDiTBlock(
        D, HEADS, D, activation_fn="gelu-approximate", norm_elementwise_affine=False,
        ff_inner_dim=4 * D, skip=joins, qk_norm=False,
    ).double()  # fmt: skip
    twin.norm1.linear.load_state_dict(block.adaLN_modulation[1].state_dict())
    for theirs, ours in ((twin.attn1, block.attn), (twin.attn2, block.cross_attn)):
        copy_self_attention(theirs, ours)
    copy_mlp(twin.ff, block.mlp)
    if joins:
        twin.skip_linear.load_state_dict(block.skip_linear.state_dict())
    return twin


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_shift_skip_equals_diffusers_hunyuan_dit(x, c, depth, monkeypatch):
    """With their order of skips, whose depth is even."""
    # They compute norms in float32, and the SiLU of the timestep's embedding.
    monkeypatch.setattr(FP32LayerNorm, "forward", torch.nn.LayerNorm.forward)
    model = random_model("shift-skip", depth, options={"class_tokens": 5})
    own = c.c[:, None] + model.shared.positions.weight
    expected, kept = x, []
    for index, block in enumerate(model.blocks):
        joins = index > depth // 2
        assert (block.skip_linear is not None) == joins
        skip = kept.pop() if joins else None
        twin = hunyuan_twin(block)
        expected = twin(expected, encoder_hidden_states=own, temb=c.t, skip=skip)
        if index < depth // 2 - 1:
            kept.append(expected)
    torch.testing.assert_close(run_blocks(model, x, c), expected, rtol=1e-6, atol=1e-6)


def test_shift_skip_reads_the_time_in_one_norm_of_each_block_and_the_class_elsewhere():
    """With the shifts at zero, as at the start, tokens do not depend on the time."""
    x, c = tokens()
    model = make("shift-skip", replace(SIZE, depth=4))
    other_time, other_class = Conditioning.of(c.t + 1, c.c), Conditioning.of(c.t, c.c + 1)
    before = run_blocks(model, x, c)
    assert torch.equal(run_blocks(model, x, other_time), before)
    assert (run_blocks(model, x, other_class) - before).abs().max() > 1e-3
    randomized(model)
    assert (run_blocks(model, x, other_time) - run_blocks(model, x, c)).abs().max() > 1e-3


def test_shift_skip_has_the_parameters_of_the_released_hunyuan_dit():
    """Its 1.5 B are these blocks, with keys and values from a text 1024 wide, gains and biases of
    norms, and what reads the text."""
    width, depth, heads, text, ratio = 1408, 40, 16, 1024, 4.3637
    shape = {"height": 128, "width": 128, "channels": 4, "out_channels": 8, "num_classes": 1}
    with torch.device("meta"):
        theirs = HunyuanDiT2DModel(
            heads, width // heads, 4, 2, hidden_size=width, num_layers=depth, mlp_ratio=ratio,
            sample_size=128, cross_attention_dim=text,
        )  # fmt: skip
        size = parse_model(f"{width}x{depth}x{heads}/2")
        ours = DiT(block_class("shift-skip"), size, mlp_ratio=ratio, **shape)
    assert round(sum(each.numel() for each in theirs.parameters()) / 1e9, 1) == 1.5
    # norm1.linear is the regression of the shift.
    of_blocks = sum(
        weight.numel()
        for name, weight in theirs.blocks.named_parameters()
        if "norm" not in name or "norm1.linear" in name
    )
    wider_keys = depth * 2 * (width - text) * width
    assert sum(each.numel() for each in ours.blocks.parameters()) - wider_keys == of_blocks


@pytest.mark.parametrize("block", ["u-vit", "shift-skip"])
def test_a_skip_comes_from_the_block_as_far_from_the_other_end(block):
    """Each is seen where a deep block reads it."""
    model = randomized(make(block, replace(SIZE, depth=7)))
    outputs, joined = [], []
    for each in model.blocks:
        each.register_forward_hook(lambda _module, _given, out: outputs.append(out))
        if each.skip_linear is not None:
            each.skip_linear.register_forward_pre_hook(lambda _module, given: joined.append(given))
    model(*inputs())
    assert len(joined) == 3
    for deep, (x, earlier) in zip((4, 5, 6), joined, strict=True):
        assert torch.equal(x, outputs[deep - 1])
        assert torch.equal(earlier, outputs[6 - deep])
