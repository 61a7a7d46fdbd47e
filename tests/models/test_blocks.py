"""What every block does, and the four of the paper."""

from fnmatch import fnmatchcase

import pytest
import torch
from tiny import SIZE, D, N, T, make, run_blocks, tokens

from ditbench.errors import DitbenchError
from ditbench.models.blocks.base import Conditioning
from ditbench.models.registry import block_class, block_names
from ditbench.models.sizes import ModelSize


def shifted(c):
    """Other embeddings of the same sum."""
    return Conditioning.of(c.t + 1, c.c - 1)


@pytest.mark.parametrize("name", block_names())
def test_a_block_receives_what_it_declares_to_read(name):
    """No embedder is made for what it does not read, and asking for that is an error."""
    x, c = tokens()
    block, model = block_class(name), make(name)
    assert (model.t_embedder is not None) == block.reads_timestep
    assert (model.y_embedder is not None) == block.reads_class
    run_blocks(model, x, c)
    nothing = Conditioning.of(None, None)
    for part in ("t", "c", "vector"):
        with pytest.raises(ValueError, match="does not read"):
            getattr(nothing, part)
    with pytest.raises(AttributeError, match="t, c, vector and tokens, not text"):
        _ = nothing.text


@pytest.mark.parametrize("name", block_names())
def test_a_block_describes_itself(name):
    block = block_class(name)
    assert len(block.summary) <= 70
    assert block.formula
    assert "20" in block.source
    assert block.own_tokens
    assert block.__doc__ is not None
    assert all(value > 0 for value in block.options(SIZE).values())


def test_in_context_appends_two_tokens_and_the_model_drops_them():
    x, c = tokens()
    joined = block_class("in-context").append_tokens(x, c)
    assert joined.shape == (N, T + 2, D)
    assert torch.equal(joined[:, :T], x)
    assert torch.equal(joined[:, T:], c.tokens)


def test_the_order_of_the_two_in_context_tokens_does_not_matter():
    """They have no position: swapping them moves only themselves."""
    model = make("in-context")
    x, c = tokens()
    swapped = Conditioning.of(c.c, c.t)
    straight, crossed = (model.block_class.append_tokens(x, each) for each in (c, swapped))
    for block in model.blocks:
        straight, crossed = block(straight, c), block(crossed, swapped)
    torch.testing.assert_close(straight[:, :T], crossed[:, :T])
    torch.testing.assert_close(straight[:, T:].flip(1), crossed[:, T:])
    assert (straight[:, T] - straight[:, T + 1]).abs().max() > 0.1


def test_cross_attention_reads_its_two_tokens_and_only_those():
    block = make("cross-attention").blocks[0]
    x, c = tokens()
    out = block(x, c)
    doubled = Conditioning.of(c.t, c.c)
    doubled.vector = 2 * c.vector
    torch.testing.assert_close(block(x, doubled), out)
    assert (block(x, shifted(c)) - out).abs().max() > 1e-3


def test_adaln_reads_the_sum_and_only_that():
    block = make("adaln").blocks[0]
    x, c = tokens()
    out = block(x, c)
    torch.testing.assert_close(block(x, shifted(c)), out)
    assert (block(x, Conditioning.of(c.t * 2, c.c)) - out).abs().max() > 1e-3


def test_adaln_zero_without_its_gates_is_adaln():
    """With both gates at one, and equal shifts and scales, the two blocks are the same."""
    plain, gated = make("adaln").blocks[0], make("adaln-zero").blocks[0]
    gated.attn.load_state_dict(plain.attn.state_dict())
    gated.mlp.load_state_dict(plain.mlp.state_dict())
    weight, bias = plain.adaLN_modulation[1].weight, plain.adaLN_modulation[1].bias
    zeros, ones = torch.zeros(D, D), torch.ones(D)
    with torch.no_grad():
        w = weight.chunk(4)
        b = bias.chunk(4)
        gated.adaLN_modulation[1].weight.copy_(torch.cat([w[0], w[1], zeros, w[2], w[3], zeros]))
        gated.adaLN_modulation[1].bias.copy_(torch.cat([b[0], b[1], ones, b[2], b[3], ones]))
    x, c = tokens()
    torch.testing.assert_close(gated(x, c), plain(x, c))


def test_blocks_share_the_initial_weights_of_what_they_have_in_common():
    shared = {}  # by name and shape
    for block in block_names():
        own = [pattern for pattern, _ in block_class(block).initial]  # what it starts otherwise
        state = make(block, seed=5).state_dict()
        assert {
            "x_embedder.proj.weight",
            "blocks.1.attn.qkv.weight",
            "blocks.1.mlp.fc1.weight",
        } <= {name for name in state if not any(fnmatchcase(name, pattern) for pattern in own)}
        for name, value in state.items():
            if not any(fnmatchcase(name, pattern) for pattern in own):
                expected = shared.setdefault((name, value.shape), value)
                assert torch.equal(value, expected), (block, name)


def test_another_seed_gives_other_weights_and_the_same_seed_the_same():
    one, again, other = (make("adaln", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"])


ZERO, ONE, GATES_AT_ONE = "zero", "one", "gates at one"
# What starts differently from other DiTs, from the papers and their released code; numbers are
# standard deviations, for a hidden size of 128.
STARTS = {
    "adaln-zero": {"*adaLN_modulation*": ZERO},
    "adaln-gate": {"blocks.*modulation*bias": GATES_AT_ONE},
    "adaln-zero-init": {"*adaLN_modulation*": ZERO},
    "adaln-single": {
        "blocks.?.scale_shift_table": 128**-0.5,
        "shared*weight": 0.02,
        "final_layer.adaLN_modulation*": ZERO,
    },
    "joint": {"*modulation*": ZERO, "shared.positions*": 0.02},
    "adaln-lora": {"*modulation*": ZERO, "blocks.?.lora_up*": ZERO},
    "adaln-shared": {"*modulation*": ZERO},
    "adaln-tanh": {"*modulation*": ZERO, "blocks.?.*_norm*": ONE},
    "ada-rms": {"blocks.?.*proj*": ZERO, "*modulation*": ZERO, "blocks.?.mlp.fc2*": ZERO},
    "in-context-class": {"*modulation*": ZERO, "shared.positions*": 0.02},
    "in-context-multi": {"shared*": 128**-0.5},
    "hybrid": {"*modulation*": ZERO, "blocks.?.cross_attn.proj*": ZERO, "shared.positions*": 0.02},
    "rotation": {"*modulation*": ZERO},
    "shift-skip": {"*modulation*": ZERO, "shared.positions*": 0.02},
    "no-time": {"*modulation*": ZERO},
}


@pytest.mark.parametrize("block", block_names())
def test_the_rules_of_initialisation(block):
    size = ModelSize(hidden_size=128, depth=2, num_heads=4, patch_size=2)
    model = make(block, size, channels=4, out_channels=8, num_classes=300)
    rules = {"t_embedder*weight": 0.02, "y_embedder*": 0.02, **STARTS.get(block, {})}
    rules |= {"final_layer.linear*": ZERO}
    for name, value in model.named_parameters():
        stated = [rule for pattern, rule in rules.items() if fnmatchcase(name, pattern)]
        if stated == [GATES_AT_ONE]:
            assert value.view(6, -1)[[2, 5]].eq(1).all(), name
            assert not value.view(6, -1)[[0, 1, 3, 4]].any(), name
        elif stated == [ONE]:
            assert value.eq(1).all(), name
        elif name.endswith("bias") or stated == [ZERO]:
            assert not value.any(), name
        elif stated:
            sampling_error = (2 * value.numel()) ** -0.5
            assert value.std().item() == pytest.approx(stated[0], rel=4 * sampling_error), name
            assert abs(value.mean().item()) < 8 * stated[0] * sampling_error, name
        else:
            rows, columns = value.flatten(1).shape
            bound = (6 / (rows + columns)) ** 0.5
            assert bound * 0.98 < value.abs().max() <= bound, name
            assert value.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), name


def test_a_parameter_without_a_rule_is_an_error(monkeypatch):
    monkeypatch.setattr(block_class("adaln-single"), "initial", ())
    with pytest.raises(DitbenchError, match=r"no rule initialises blocks.0.scale_shift_table"):
        make("adaln-single")
