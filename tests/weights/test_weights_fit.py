"""Which weights a model takes, and what starts fresh."""

from pathlib import Path

import pytest
import torch
from dits import arguments

from ditbench.errors import DitbenchError
from ditbench.models.dit import DiT
from ditbench.models.registry import block_names
from ditbench.models.sizes import ModelSize
from ditbench.weights.fit import load, match, shapes_of


def test_a_weight_that_is_not_finite_is_refused(dit):
    tensors = dict(dit.state_dict())
    tensors["final_layer.linear.bias"] = tensors["final_layer.linear.bias"] + torch.inf
    fit = match(arguments(), shapes_of(tensors))
    with pytest.raises(DitbenchError, match=r"final_layer.linear.bias is not finite"):
        load(DiT(**arguments()), tensors, fit, Path("a file"))


def test_the_same_block_takes_all(dit):
    fit = match(arguments(), shapes_of(dit.state_dict()))
    assert (fit.fresh, fit.unused, fit.without_null) == ((), (), False)
    model = DiT(**arguments())
    load(model, {n: v.half().float() for n, v in dit.state_dict().items()}, fit, Path("file"))
    assert torch.equal(model.blocks[1].mlp.fc2.weight, dit.blocks[1].mlp.fc2.weight.half().float())


@pytest.mark.parametrize("block", block_names())
def test_another_block_takes_what_is_shared_and_the_rest_starts_fresh(dit, block):
    model = DiT(**arguments(block))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit = match(arguments(block), shapes_of(dit.state_dict()))
    load(model, dit.state_dict(), fit, Path("file"))
    assert "blocks.2.attn.qkv.weight" in fit.loaded
    assert torch.equal(model.blocks[2].attn.qkv.weight, dit.blocks[2].attn.qkv.weight)
    for each in fit.fresh:
        assert torch.equal(model.state_dict()[each.name], before[each.name])
        assert not each.name.startswith(("x_embedder", "final_layer.linear"))
    assert {*fit.loaded, *(each.name for each in fit.fresh)} == before.keys()
    if block == "cross-attention":
        assert {each.name.split(".")[2] for each in fit.fresh} == {"cross_attn"}
        assert any("adaLN_modulation" in each.name for each in fit.unused)


def test_the_null_class_may_be_missing_and_other_classes_start_fresh(dit):
    tensors = dict(dit.state_dict())
    tensors["y_embedder.embedding_table.weight"] = tensors["y_embedder.embedding_table.weight"][:5]
    model = DiT(**arguments())
    null = model.y_embedder.embedding_table.weight[5].clone()
    fit = match(arguments(), shapes_of(tensors))
    assert (fit.without_null, fit.fresh) == (True, ())
    load(model, tensors, fit, Path("file"))
    table = model.y_embedder.embedding_table.weight
    assert torch.equal(table[:5], tensors["y_embedder.embedding_table.weight"])
    assert torch.equal(table[5], null)
    fit = match(arguments(num_classes=9), shapes_of(tensors))
    assert [(each.expected, each.found) for each in fit.missing] == [((10, 32), (5, 32))]


def test_another_grid_keeps_its_own_positions(dit):
    fit = match(arguments(height=16, width=16), shapes_of(dit.state_dict()))
    assert [each.name for each in fit.fresh] == ["pos_embed"]
    assert fit.missing == ()


WRONG = {
    "another width": ({"size": ModelSize(64, 3, 4, 2)},
                      r"x_embedder.proj.weight \(expected 64x4x2x2, found 32x4x2x2\)"),
    "fewer blocks": ({"size": ModelSize(32, 2, 4, 2)},
                     r"blocks.\*.attn.qkv.weight \(expected none, found 96x32\)"),
    "more blocks": ({"size": ModelSize(32, 4, 4, 2)},
                    r"blocks.\*.mlp.fc1.weight \(expected 128x32, found none\)"),
    "no learned variance": ({"out_channels": 4}, r"linear.weight \(expected 16x32, found 32x32\)"),
    "other channels": ({"channels": 3}, r"x_embedder.proj.weight \(expected 32x3x2x2, found"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_with_both_shapes(dit, case):
    other, message = WRONG[case]
    with pytest.raises(DitbenchError, match=message):
        match(arguments(**other), shapes_of(dit.state_dict()))


@pytest.mark.parametrize("name", ["blocks.1.attn.proj.bias", "blocks.1.adaLN_modulation.1.weight"])
def test_a_weight_that_one_block_lacks_is_not_fresh(dit, name):
    found = shapes_of(dit.state_dict())
    del found[name]
    with pytest.raises(DitbenchError, match="found none"):
        match(arguments(), found)
