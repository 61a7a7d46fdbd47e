"""The blocks since 2022 against diffusers and against their formulas, written out again."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock, JointTransformerBlock
from tiny import HEADS, SIZE, D, N, T, make, randomized, run_blocks

from ditbench.models.blocks.base import Conditioning
from ditbench.models.registry import block_class
from ditbench.models.sizes import parse_model


def random_model(block, depth=3, **settings):
    return randomized(make(block, replace(SIZE, depth=depth), **settings), 0.2).double()


def norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def attention(q, k, v):
    """By its formula, heads one after the other."""
    parts = []
    for one in range(HEADS):
        part = slice(one * D // HEADS, (one + 1) * D // HEADS)
        scores = q[..., part] @ k[..., part].mT / (D / HEADS) ** 0.5
        parts.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(parts, -1)


def gated(block, x, vectors):
    """A block with six vectors (N, 6, D), by its formula."""
    b1, g1, a1, b2, g2, a2 = vectors.unsqueeze(2).unbind(1)
    y = (1 + g1) * norm(x) + b1
    x = x + a1 * block.attn.proj(attention(*block.attn.qkv(y).chunk(3, -1)))
    y = (1 + g2) * norm(x) + b2
    return x + a2 * block.mlp.fc2(F.gelu(block.mlp.fc1(y), approximate="tanh"))


def plain(block, x):
    vectors = torch.tensor([0, 0, 1, 0, 0, 1]).double()[None, :, None].expand(len(x), 6, D)
    return gated(block, x, vectors)


def copy_self_attention(theirs, ours):
    for kind in ("weight", "bias"):
        parts = zip("qkv", getattr(ours.qkv, kind).chunk(3), strict=True)
        for name, value in parts:
            getattr(getattr(theirs, f"to_{name}"), kind).data = value
    theirs.to_out[0].load_state_dict(ours.proj.state_dict())


def copy_mlp(theirs, ours):
    theirs.net[0].proj.load_state_dict(ours.fc1.state_dict())
    theirs.net[2].load_state_dict(ours.fc2.state_dict())


def pixart_twin(block):
    """diffusers' block of PixArt with the weights of ours."""
    twin = BasicTransformerBlock(
        D, HEADS, D // HEADS, attention_bias=True, activation_fn="gelu-approximate",
        norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    ).double()  # fmt: skip
    copy_self_attention(twin.attn1, block.attn)
    copy_mlp(twin.ff, block.mlp)
    return twin


def test_adaln_single_equals_diffusers_pixart(x, c):
    model = random_model("adaln-single")
    linear = model.shared.adaLN_modulation[1]
    timestep = F.linear(F.silu(c.t + c.c), linear.weight, linear.bias)
    expected = x
    for block in model.blocks:
        twin = pixart_twin(block)
        assert twin.scale_shift_table.shape == block.scale_shift_table.shape
        twin.scale_shift_table.data = block.scale_shift_table.data
        expected = twin(expected, timestep=timestep)
    torch.testing.assert_close(run_blocks(model, x, c), expected)


def joint_twin(block):
    """diffusers' block of Stable Diffusion 3 with the weights of ours."""
    normed = block.attn.qkv.q_norm is not None
    twin = JointTransformerBlock(
        D, HEADS, D // HEADS, context_pre_only=block.is_last, qk_norm="rms_norm" if normed else None
    ).double()
    if normed:
        of_context = block.context_kv if block.is_last else block.context_attn.qkv
        for name in "qk"[block.is_last :]:  # the last context queries of theirs are not used
            getattr(twin.attn, f"norm_added_{name}").load_state_dict(
                getattr(of_context, f"{name}_norm").state_dict()
            )
        for name in "qk":
            getattr(twin.attn, f"norm_{name}").load_state_dict(
                getattr(block.attn.qkv, f"{name}_norm").state_dict()
            )
    copy_self_attention(twin.attn, block.attn)
    copy_mlp(twin.ff, block.mlp)
    twin.norm1.linear.load_state_dict(block.adaLN_modulation[1].state_dict())
    context = block.context_modulation[1]
    for kind in ("weight", "bias"):
        value = getattr(context, kind)
        if block.is_last:  # theirs has the scale first there
            value = torch.cat([*reversed(value.chunk(2))])
            parts = [None, *getattr(block.context_kv, kind).chunk(2)]
        else:
            parts = getattr(block.context_attn.qkv, kind).chunk(3)
        getattr(twin.norm1_context.linear, kind).data = value
        for name, part in zip("qkv", parts, strict=True):
            if part is not None:
                getattr(getattr(twin.attn, f"add_{name}_proj"), kind).data = part
    if not block.is_last:
        twin.attn.to_add_out.load_state_dict(block.context_attn.proj.state_dict())
        copy_mlp(twin.ff_context, block.context_mlp)
    return twin


@pytest.mark.parametrize("qk_norm", [False, True])
def test_joint_equals_diffusers_stable_diffusion_3(x, c, qk_norm):
    model = random_model("joint", options={"class_tokens": 5}, qk_norm=qk_norm)
    image, context = x, c.c[:, None] + model.shared.positions.weight
    for block in model.blocks:
        twin = joint_twin(block)
        context, image = twin(image, encoder_hidden_states=context, temb=c.t + c.c)
    # diffusers computes the RMS norm of queries and keys in float32.
    tolerance = 1e-4 if qk_norm else 1e-7
    torch.testing.assert_close(run_blocks(model, x, c), image, rtol=tolerance, atol=tolerance)


def test_adaln_lora_by_its_formula(x, c):
    model = random_model("adaln-lora", options={"lora_rank": 3})
    vector = F.silu(c.t + c.c)
    expected = x
    for block in model.blocks:
        assert block.lora_down.weight.shape == (3, D)
        own = block.lora_up(block.lora_down(vector))
        vectors = model.shared.adaLN_modulation[1](vector) + own
        expected = gated(block, expected, vectors.view(N, 6, D))
    torch.testing.assert_close(run_blocks(model, x, c), expected)


@pytest.mark.parametrize(("depth", "pairs"), [
    (1, []), (2, []), (3, [(0, 2)]), (4, [(0, 3)]), (5, [(0, 4), (1, 3)]), (6, [(0, 5), (1, 4)])
])  # fmt: skip
def test_u_vit_by_its_formula(x, c, depth, pairs):
    model = random_model("u-vit", depth)
    tokens = torch.cat([x, c.t[:, None], c.c[:, None]], dim=1)
    after = {}
    for index, block in enumerate(model.blocks):
        sources = [shallow for shallow, deep in pairs if deep == index]
        assert (block.skip_linear is not None) == bool(sources)
        for shallow in sources:
            W, b = block.skip_linear.weight, block.skip_linear.bias
            tokens = tokens @ W[:, :D].T + after[shallow] @ W[:, D:].T + b
        tokens = after[index] = plain(block, tokens)
    torch.testing.assert_close(run_blocks(model, x, c), tokens[:, :T])


@pytest.mark.parametrize(("depth", "start"), [(12, 4), (24, 8), (32, 10), (4, 1), (2, 0)])
def test_in_context_class_by_its_formula(x, c, depth, start):
    """JiT's B, L and H add the class tokens before block 4, 8 and 10, before the image's tokens."""
    model = random_model("in-context-class", depth, options={"class_tokens": 7})
    own = c.c[:, None] + model.shared.positions.weight
    tokens = x
    for index, block in enumerate(model.blocks):
        if index == start:
            tokens = torch.cat([own, tokens], dim=1)
        vectors = 0.2 * block.adaLN_modulation[1](F.silu(c.t + c.c)).view(N, 6, D)
        tokens = gated(block, tokens, vectors)
    with torch.no_grad():  # or the tokens of 32 random blocks would grow beyond comparison
        for block in model.blocks:
            for weight in block.adaLN_modulation.parameters():
                weight.mul_(0.2)
    torch.testing.assert_close(run_blocks(model, x, c), tokens[:, 7:])


def test_in_context_class_has_the_paper_s_number_of_tokens():
    assert block_class("in-context-class").options(parse_model("B/2")) == {"class_tokens": 32}
    assert random_model("in-context-class").shared.positions.weight.shape == (32, D)


def test_hybrid_by_its_formula(x, c):
    model = random_model("hybrid", options={"class_tokens": 5})
    own = c.c[:, None] + model.shared.positions.weight
    expected = x
    for block in model.blocks:
        vectors = block.adaLN_modulation[1](F.silu(c.t)).view(N, 6, 1, D).unbind(1)
        b1, g1, a1, b2, g2, a2 = vectors
        y = (1 + g1) * norm(expected) + b1
        attended = attention(*block.attn.qkv(y).chunk(3, -1))
        expected = expected + a1 * block.attn.proj(attended)
        q = block.cross_attn.qkv(norm(expected))[..., :D]
        k, v = block.cross_attn.qkv(own)[..., D:].chunk(2, -1)
        expected = expected + block.cross_attn.proj(attention(q, k, v))
        y = (1 + g2) * norm(expected) + b2
        expected = expected + a2 * block.mlp(y)
    torch.testing.assert_close(run_blocks(model, x, c), expected)


def test_the_final_layer_of_hybrid_and_shift_skip_reads_the_time_alone(c):
    assert torch.equal(block_class("hybrid").final_vector(c), c.t)
    assert torch.equal(block_class("shift-skip").final_vector(c), c.t)
    assert torch.equal(block_class("joint").final_vector(c), c.t + c.c)


def test_adaln_zero_init_starts_as_a_block_without_conditioning(x, c):
    zeroed, none = make("adaln-zero-init").double(), make("none").double()
    out = run_blocks(zeroed, x, c)
    torch.testing.assert_close(out, run_blocks(none, x, Conditioning.of(None, None)))
    assert (out - x).abs().max() > 0.1


def test_no_time_is_adaln_zero_without_its_timestep(x, c):
    with_time, without = random_model("adaln-zero"), random_model("no-time")
    without.load_state_dict(
        {name: value for name, value in with_time.state_dict().items() if "t_embedder" not in name}
    )
    nothing = Conditioning.of(torch.zeros(N, D).double(), c.c)
    only = Conditioning.of(None, c.c)
    torch.testing.assert_close(run_blocks(without, x, only), run_blocks(with_time, x, nothing))


def test_none_is_in_context_without_its_tokens(x):
    model = random_model("none")
    expected = x
    for block in model.blocks:
        expected = plain(block, expected)
    torch.testing.assert_close(run_blocks(model, x, Conditioning.of(None, None)), expected)
