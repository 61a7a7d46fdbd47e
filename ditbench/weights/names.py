"""Two layouts of a DiT's weights: the released code's names, which are ours, and diffusers'."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ditbench.errors import DitbenchError

Tensors = dict[str, Tensor]

PREFIX = "transformer_blocks."
# Modules of diffusers' DiTTransformer2DModel, and ours: of the model, and of each block.
_OF_MODEL = {
    "pos_embed.proj": "x_embedder.proj",
    "proj_out_1": "final_layer.adaLN_modulation.1",
    "proj_out_2": "final_layer.linear",
}
_OF_BLOCK = {
    "norm1.linear": "adaLN_modulation.1",
    "attn1.to_out.0": "attn.proj",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
}
# Every block of diffusers has a copy of the embedders.
_EMBEDDERS = {
    "norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
}
_KINDS = ("weight", "bias")
_QKV = ("attn1.to_q", "attn1.to_k", "attn1.to_v")
_POSITIONS = "pos_embed.pos_embed"  # in files of older versions


def is_diffusers(tensors: Tensors) -> bool:
    """Whether the names are those of diffusers."""
    return any(name.startswith(PREFIX) for name in tensors)


def from_diffusers(tensors: Tensors) -> Tensors:
    """Weights of diffusers' DiTTransformer2DModel by our names. Names without one stay. Raises a
    DitbenchError if the embedders of two blocks differ, which no DiT of the paper has.
    """
    left = dict(tensors)
    found = {"pos_embed": left.pop(_POSITIONS)} if _POSITIONS in left else {}
    found |= _renamed(left, _OF_MODEL)
    for index in range(depth_of(tensors, PREFIX)):
        block, ours = f"{PREFIX}{index}.", f"blocks.{index}."
        found |= _renamed(left, _OF_BLOCK, block, ours)
        for kind in _KINDS:
            names = [f"{block}{part}.{kind}" for part in _QKV]
            if left.keys() >= {*names}:
                found[f"{ours}attn.qkv.{kind}"] = torch.cat([left.pop(name) for name in names])
        for name, copy in _renamed(left, _EMBEDDERS, block).items():
            first = found.setdefault(name, copy)
            if not copy.is_meta and not torch.equal(first, copy):
                raise DitbenchError(
                    f"{name} of block {index} differs from that of block 0",
                    "the DiT of the paper has one for all blocks: such weights do not fit it",
                )
    return found | left


def to_diffusers(tensors: Tensors) -> Tensors:
    """Weights of an adaLN-Zero DiT by the names of diffusers; a DitbenchError for any other."""
    left = {name: value for name, value in tensors.items() if name != "pos_embed"}
    depth = depth_of(left)
    found, embedders = (_renamed(left, _reversed(each)) for each in (_OF_MODEL, _EMBEDDERS))
    for index in range(depth):
        block, ours = f"{PREFIX}{index}.", f"blocks.{index}."
        found |= _renamed(left, _reversed(_OF_BLOCK), ours, block)
        for kind in _KINDS:
            qkv = left.pop(f"{ours}attn.qkv.{kind}").chunk(3)
            found |= {f"{block}{part}.{kind}": p for part, p in zip(_QKV, qkv, strict=True)}
        found |= {block + name: value for name, value in embedders.items()}
    if left:
        what = f"the DiT of diffusers has no {next(iter(left))}"
        raise DitbenchError(what, "it has the block adaln-zero only")
    return found


def depth_of(names: Iterable[str], prefix: str = "blocks.") -> int:
    """The number of blocks, from the names of weights."""
    below = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    numbers = (name.partition(".")[0] for name in below)
    return 1 + max((int(each) for each in numbers if each.isdecimal()), default=-1)


def _renamed(left: Tensors, modules: dict[str, str], below: str = "", new: str = "") -> Tensors:
    """Take the weights and biases of modules (old name -> new name) out of `left`, renamed."""
    return {
        f"{new}{after}.{kind}": left.pop(f"{below}{before}.{kind}")
        for before, after in modules.items()
        for kind in _KINDS
        if f"{below}{before}.{kind}" in left
    }


def _reversed(modules: dict[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in modules.items()}
