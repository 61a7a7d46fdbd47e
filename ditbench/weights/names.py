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
    for theirs, ours in _OF_MODEL.items():
        _move(left, theirs, found, ours)
    depth = depth_of(tensors, PREFIX)
    for index in range(depth):
        block = f"{PREFIX}{index}."
        for theirs, ours in _OF_BLOCK.items():
            _move(left, block + theirs, found, f"blocks.{index}.{ours}")
        for kind in ("weight", "bias"):
            names = [f"{block}{part}.{kind}" for part in _QKV]
            if all(name in left for name in names):
                parts = [left.pop(name) for name in names]
                found[f"blocks.{index}.attn.qkv.{kind}"] = torch.cat(parts)
        copies: Tensors = {}
        for theirs, ours in _EMBEDDERS.items():
            _move(left, block + theirs, copies, ours)
        for name, copy in copies.items():
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
    found: Tensors = {}
    for theirs, ours in _OF_MODEL.items():
        _move(left, ours, found, theirs)
    embedders: Tensors = {}
    for theirs, ours in _EMBEDDERS.items():
        _move(left, ours, embedders, theirs)
    for index in range(depth):
        block = f"{PREFIX}{index}."
        for theirs, ours in _OF_BLOCK.items():
            _move(left, f"blocks.{index}.{ours}", found, block + theirs)
        for kind in ("weight", "bias"):
            qkv = left.pop(f"blocks.{index}.attn.qkv.{kind}").chunk(3)
            found |= {f"{block}{part}.{kind}": p for part, p in zip(_QKV, qkv, strict=True)}
        found |= {block + name: value for name, value in embedders.items()}
    if left:
        raise DitbenchError(
            f"the DiT of diffusers has no {next(iter(left))}", "it has the block adaln-zero only"
        )
    return found


def depth_of(names: Iterable[str], prefix: str = "blocks.") -> int:
    """The number of blocks, from the names of weights."""
    numbers = (
        name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)
    )
    return 1 + max((int(each) for each in numbers if each.isdecimal()), default=-1)


def _move(source: Tensors, name: str, target: Tensors, new: str) -> None:
    """Move weight and bias of a module, where they exist."""
    for kind in ("weight", "bias"):
        if f"{name}.{kind}" in source:
            target[f"{new}.{kind}"] = source.pop(f"{name}.{kind}")
