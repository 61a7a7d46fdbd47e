"""The switches of a model, with every block."""

import pytest
import torch
import torch.nn.functional as F
from tiny import HEADS, D, inputs, make, randomized

from ditbench.models import ops, registry
from ditbench.models.blocks.base import Block
from ditbench.models.layers import CrossAttention
from ditbench.models.registry import block_class, block_names

ALL_ON = {"qk_norm": True, "norm": "rms", "registers": 3}
EACH = {
    "off": {},
    "qk_norm": {"qk_norm": True},
    "rms": {"norm": "rms"},
    "registers": {"registers": 3},
    "all": ALL_ON,
}
for_each = pytest.mark.parametrize("switches", EACH.values(), ids=EACH)
for_every_block = pytest.mark.parametrize("block", block_names())


@for_every_block
@for_each
def test_every_block_takes_every_switch(block, switches):
    """The shape stays, every parameter is used in all of its rows, and the output changes."""
    model, plain = randomized(make(block, out_channels=2, **switches)), make(block, out_channels=2)
    missing, added = plain.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert not switches.get("registers") or "registers.tokens.weight" in added
    out = model(*inputs())
    assert out.shape == (4, 2, 8, 8)
    assert not switches or (out - plain(*inputs())).abs().max() > 1e-4
    out.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if "embedding_table" not in name:
            assert parameter.grad.flatten(max(0, parameter.ndim - 1)).any(-1).all(), name


@for_every_block
@pytest.mark.parametrize("switches", [{}, ALL_ON], ids=["off", "all"])
def test_blocks_start_as_the_identity_if_they_say_so_and_the_output_as_zero(block, switches):
    model = make(block, **switches)
    seen = []
    model.final_layer.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    x, t, y = inputs()
    assert not model(x, t, y).any()
    image = model.x_embedder(x) + model.pos_embed
    assert seen[0].shape == image.shape
    assert torch.equal(seen[0], image) == (block_class(block).starts_as == "identity")


@for_every_block
def test_weights_in_common_start_as_without_switches(block):
    off, on = make(block).state_dict(), make(block, **ALL_ON).state_dict()
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
    layer, switched = randomized(make(block)), randomized(make(block, norm="rms"))
    expected = layer(*inputs())
    monkeypatch.delitem(ops.NORMS, "layer")
    assert torch.equal(switched(*inputs()), expected)


@for_every_block
def test_registers_are_read_and_interchangeable(block):
    """They have no position: the output depends on their values, not on their order."""
    model = randomized(make(block, registers=3))
    out = model(*inputs())
    tokens = model.registers.tokens.weight.data
    model.registers.tokens.weight.data = tokens.flip(0)
    torch.testing.assert_close(model(*inputs()), out, rtol=1e-4, atol=1e-4)
    model.registers.tokens.weight.data = tokens + torch.linspace(-1, 1, D)
    assert (model(*inputs()) - out).abs().max() > 1e-3


@pytest.mark.slow
@for_every_block
@pytest.mark.parametrize("switches", [{}, ALL_ON], ids=["off", "all"])
def test_a_model_is_one_graph(block, switches):
    torch._dynamo.reset()
    model = randomized(make(block, **switches))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs()), model(*inputs()))


class OutsideBlock(Block):
    """A user's block: attention of its own, torch's operations, nothing about switches."""

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
    model = make("outside", **ALL_ON)
    assert all(block.read.qkv.k_norm is not None for block in model.blocks)
