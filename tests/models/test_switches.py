"""The switches of a model, with every block, against formulas written out again."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ditbench.models import ops, registry
from ditbench.models.blocks.base import Block, Spec
from ditbench.models.cost import count
from ditbench.models.dit import DiT
from ditbench.models.layers import Attention, CrossAttention
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import ModelSize

T, D, HEADS, DEPTH = 16, 32, 4, 4
SIZE = ModelSize(hidden_size=D, depth=DEPTH, num_heads=HEADS, patch_size=2)
INPUT = {"height": 8, "width": 8, "channels": 1}
QK_NORM = Spec(D, HEADS, 4.0, DEPTH, qk_norm=True)
SHAPE = {"height": 8, "width": 8, "channels": 1, "out_channels": 2, "num_classes": 10}
ALL_ON = {"qk_norm": True, "norm": "rms", "registers": 3}
EACH = {
    "qk_norm": {"qk_norm": True},
    "rms": {"norm": "rms"},
    "registers": {"registers": 3},
    "all": ALL_ON,
}
for_each = pytest.mark.parametrize("switches", EACH.values(), ids=EACH)
for_every_block = pytest.mark.parametrize("block", block_names())


def make(block, switches=None, seed=1):
    return DiT(block_class(block), SIZE, **SHAPE, **(switches or {}), seed=seed)


def shaken(model, seed=0):
    """Every weight moved, so that zeros hide no mistakes."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=draws))
    return model


def inputs(n=4):
    draws = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 8, 8, generator=draws), torch.arange(n) * 250.0, torch.arange(n)


def rms(x, gain=1.0):
    """By its formula."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain


@for_every_block
@for_each
def test_every_block_takes_every_switch(block, switches):
    """The shape stays, every parameter is used in all of its rows, and something is different."""
    model, plain = shaken(make(block, switches)), make(block)
    missing, added = plain.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert not switches.get("registers") or "registers.tokens.weight" in added
    out = model(*inputs())
    assert out.shape == (4, 2, 8, 8)
    assert (out - plain(*inputs())).abs().max() > 1e-4
    out.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if "embedding_table" not in name:
            assert parameter.grad.flatten(max(0, parameter.ndim - 1)).any(-1).all(), name


@for_every_block
@for_each
def test_what_starts_as_the_identity_still_does(block, switches):
    model = make(block, switches)
    seen = []
    model.final_layer.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    x, t, y = inputs()
    assert not model(x, t, y).any()
    image = model.x_embedder(x) + model.pos_embed
    assert seen[0].shape == image.shape
    assert torch.equal(seen[0], image) == (block_class(block).starts_as == "identity")


@for_every_block
def test_weights_in_common_start_as_without_switches(block):
    off, on = make(block).state_dict(), make(block, ALL_ON).state_dict()
    assert all(torch.equal(off[name], on[name]) for name in off)
    new = {name: value for name, value in on.items() if name not in off}
    registers = new.pop("registers.tokens.weight")
    assert registers.shape == (3, D)
    assert registers.std().item() == pytest.approx(0.02, rel=0.3)
    assert new
    assert all(value.shape == (D // HEADS,) and value.eq(1).all() for value in new.values())


@for_every_block
def test_no_layer_norm_is_left_under_rms(block, monkeypatch):
    """Where the RMS norm is replaced by a layer norm, the model is the one without the switch."""
    monkeypatch.setitem(ops.NORMS, "rms", F.layer_norm)
    layer, switched = shaken(make(block)), shaken(make(block, {"norm": "rms"}))
    expected = layer(*inputs())
    monkeypatch.delitem(ops.NORMS, "layer")
    assert torch.equal(switched(*inputs()), expected)


@for_every_block
def test_registers_are_read_and_interchangeable(block):
    """They have no position: their order means nothing; what they are does."""
    model = shaken(make(block, {"registers": 3}))
    out = model(*inputs())
    tokens = model.registers.tokens.weight.data
    model.registers.tokens.weight.data = tokens.flip(0)
    torch.testing.assert_close(model(*inputs()), out, rtol=1e-4, atol=1e-4)
    model.registers.tokens.weight.data = tokens + torch.linspace(-1, 1, D)
    assert (model(*inputs()) - out).abs().max() > 1e-3


@for_every_block
def test_a_checkpoint_of_a_switched_model_is_read_back(block):
    model, other = shaken(make(block, ALL_ON)), make(block, ALL_ON, seed=2)
    other.load_state_dict(model.state_dict(), strict=True)
    expected = model(*inputs())
    assert torch.equal(other(*inputs()), expected)
    assert torch.equal(copy.deepcopy(model)(*inputs()), expected)


@pytest.mark.slow
@for_every_block
def test_a_switched_model_is_one_graph(block):
    torch._dynamo.reset()
    model = shaken(make(block, ALL_ON))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs()), model(*inputs()))


def block_by_its_formula(block, x, norm):
    """A plain block with normalised queries and keys, one head after the other."""
    d = D // HEADS
    qkv = norm(x) @ block.attn.qkv.weight.T + block.attn.qkv.bias
    heads = []
    for head in range(HEADS):
        q, k, v = (part[..., head * d : head * d + d] for part in qkv.chunk(3, -1))
        q, k = rms(q, block.attn.qkv.q_norm.weight), rms(k, block.attn.qkv.k_norm.weight)
        heads.append((q @ k.mT / d**0.5).softmax(-1) @ v)
    x = x + block.attn.proj(torch.cat(heads, -1))
    return x + block.mlp.fc2(F.gelu(block.mlp.fc1(norm(x)), approximate="tanh"))


def test_all_three_by_their_formulas_in_float64():
    model = shaken(make("none", ALL_ON)).double()
    x, *others = inputs()
    image = model.x_embedder(x.double()) + model.pos_embed
    tokens = torch.cat([image, model.registers.tokens.weight.expand(4, 3, D)], 1)
    for block in model.blocks:
        tokens = block_by_its_formula(block, tokens, rms)
    expected = model.unpatchify(model.final_layer.linear(rms(tokens[:, :T])))
    torch.testing.assert_close(model(x.double(), *others), expected)


def test_normalised_cross_attention_by_its_formula_in_float64():
    torch.manual_seed(0)
    layer = shaken(CrossAttention(QK_NORM)).double()
    x, context = torch.randn(3, T, D).double(), torch.randn(3, 5, D).double()
    q = (x @ layer.qkv.weight[:D].T + layer.qkv.bias[:D]).unflatten(-1, (HEADS, -1))
    kv = context @ layer.qkv.weight[D:].T + layer.qkv.bias[D:]
    k, v = kv.unflatten(-1, (2, HEADS, -1)).unbind(2)
    q, k = rms(q, layer.qkv.q_norm.weight), rms(k, layer.qkv.k_norm.weight)
    scores = torch.einsum("nthd,nshd->nhts", q, k) / (D // HEADS) ** 0.5
    heads = torch.einsum("nhts,nshd->nthd", scores.softmax(-1), v).flatten(2)
    torch.testing.assert_close(layer(x, context), layer.proj(heads))


@pytest.mark.parametrize("modulated", [False, True])
def test_the_rms_norm_and_its_gradients_are_torch_s(modulated):
    x, h, gate, shift, scale = torch.randn(5, 2, 7, D, dtype=torch.float64).unbind()
    x.requires_grad_()
    vectors = (shift[:, :1], scale[:, :1]) if modulated else ()
    total = ops.add(x, h, gate[:, :1])
    out = ops.norm(total, *vectors, kind="rms")
    expected = torch.nn.RMSNorm(D, eps=1e-6, elementwise_affine=False)(x + gate[:, :1] * h)
    expected = expected * (1 + scale[:, :1]) + shift[:, :1] if modulated else expected
    torch.testing.assert_close(out, expected)
    weights = torch.linspace(-1, 1, D).double()
    found, wanted = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (out, expected))
    torch.testing.assert_close(found, wanted)


def test_normalised_attention_in_half_precision_has_the_gradients_of_float64():
    """Queries and keys are normalised in float32 and given on in the type that they came in."""
    torch.manual_seed(0)
    layer = Attention(QK_NORM)
    exact = copy.deepcopy(shaken(layer)).double()
    x = torch.randn(3, T, D)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.qkv(x).dtype == torch.bfloat16
        layer(x).float().square().sum().backward()
    exact(x.double()).square().sum().backward()
    for (name, one), two in zip(layer.named_parameters(), exact.parameters(), strict=True):
        assert one.grad.dtype == torch.float32
        # A bias of keys moves all scores of a query alike, were it not for the norm.
        assert (one.grad - two.grad).norm() <= 0.05 * two.grad.norm(), name


def test_scores_do_not_grow_with_the_weights_of_queries_and_keys():
    layer = Attention(QK_NORM)
    x = torch.randn(3, T, D)
    out = shaken(layer)(x)
    with torch.no_grad():
        for part in (layer.qkv.weight, layer.qkv.bias):
            part[: 2 * D] *= 1000
    torch.testing.assert_close(layer(x), out, rtol=1e-3, atol=1e-4)


# How many vectors of d numbers normalise queries and keys in L blocks; two a block unless here.
GAINS = {
    "cross-attention": lambda L: 4 * L,
    "hybrid": lambda L: 4 * L,
    "joint": lambda L: 4 * L - 1,  # the last context has keys alone
}


@for_every_block
def test_what_switches_cost_against_formulas(block):
    def cost(**switches):
        return count(block_class(block), SIZE, **INPUT, **switches)

    base, d, R = cost(), D // HEADS, 5
    gains = GAINS.get(block, lambda L: 2 * L)(DEPTH) * d
    assert cost(qk_norm=True).parameters - base.parameters == gains
    assert cost(qk_norm=True).gmacs == base.gmacs
    assert (cost(norm="rms").parameters, cost(norm="rms").gmacs) == (base.parameters, base.gmacs)
    assert cost(registers=R).parameters - base.parameters == R * D


def test_registers_cost_what_as_many_image_tokens_cost_in_the_blocks():
    def macs(switches):
        return count(block_class("none"), SIZE, **INPUT, **switches).gmacs * 1e9

    R = 5
    expected = DEPTH * (12 * R * D * D + 2 * ((T + R) ** 2 - T**2) * D)
    assert macs({"registers": R}) - macs({}) == pytest.approx(expected, rel=1e-9)


class OutsideBlock(Block):
    """As anyone may write one: attention of its own, torch's operations, no word of switches."""

    reads_class = False

    def __init__(self, spec, index):
        super().__init__(spec, index)
        self.read = CrossAttention(spec)

    def forward(self, x, c):
        x = self.branch(x, self.attn)
        return self.branch(x + self.read(x, c.tokens), self.mlp)


def test_a_block_from_outside_takes_them_without_doing_anything(monkeypatch):
    monkeypatch.setitem(registry._LOCATIONS, "outside", f"{__name__}:OutsideBlock")
    test_every_block_takes_every_switch("outside", ALL_ON)
    test_no_layer_norm_is_left_under_rms("outside", monkeypatch)
    model = make("outside", ALL_ON)
    assert all(block.read.qkv.k_norm is not None for block in model.blocks)
