"""Initial weights: the rules of the DiT paper, and one generator a parameter.

A parameter's draw depends on the seed and its own name alone. Two models which have a module in
common therefore start with the same weights in it, whatever else differs (what makes blocks
comparable), and the order in which modules are built does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ditbench.models.layers import TimestepEmbedder
from ditbench.seeds import generator

if TYPE_CHECKING:
    from ditbench.models.dit import DiT

EMBEDDING_STD = 0.02

# How a parameter starts: it is filled in place, by draws of its own generator.
Rule = Callable[[Tensor, torch.Generator], object]
Rules = tuple[tuple[str, Rule], ...]


def zero(weight: Tensor, _draws: torch.Generator) -> None:
    """All zeros."""
    weight.zero_()


def normal(std: float) -> Rule:
    """N(0, std^2)."""
    return lambda weight, draws: weight.normal_(std=std, generator=draws)


def unit_rows(weight: Tensor, draws: torch.Generator) -> None:
    """N(0, 1/D) for rows of D numbers: each has about the length 1."""
    weight.normal_(std=weight.shape[-1] ** -0.5, generator=draws)


@torch.no_grad()
def initialize(model: DiT, seed: int) -> None:
    """Set every weight of a DiT (Peebles & Xie 2022, section 4, and the published weights' facts).

    Linear layers are Xavier-uniform with zero bias, q, k and v as one matrix; the patch embedding
    is Xavier-uniform on its flattened weight; tables, such as that of the labels, and both linears
    of the timestep embedder are N(0, 0.02); gains of norms are one; what the strategy says in
    `Block.initial` goes before; the output layer is zero.

    Raises:
        ValueError: for a parameter that neither these rules nor the strategy's say anything about.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(
                module.weight.view(len(module.weight), -1), generator=_of(seed, name)
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=_of(seed, name))
        elif isinstance(module, nn.RMSNorm):
            nn.init.ones_(module.weight)
    for name, module in _within_timestep_embedders(model):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=_of(seed, name))
    _apply_stated(model, seed)
    nn.init.zeros_(model.final_layer.linear.weight)


def _within_timestep_embedders(model: DiT) -> list[tuple[str, nn.Module]]:
    embedders = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, TimestepEmbedder)
    ]
    return [part for name, module in embedders for part in module.named_modules(prefix=name)]


def _apply_stated(model: DiT, seed: int) -> None:
    """Set what the strategy says of its own; refuse what nobody says anything about."""
    set_above = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding | nn.RMSNorm)
        for own, _ in module.named_parameters(recurse=False)
    }
    for name, parameter in model.named_parameters():
        rules = [rule for pattern, rule in model.block_class.initial if fnmatchcase(name, pattern)]
        if rules:
            rules[-1](parameter, _of(seed, name))
        elif name not in set_above:
            raise ValueError(f"how {name} starts is not said: name it in the strategy's `initial`")


def _of(seed: int, name: str) -> torch.Generator:
    return generator(seed, "init", name)
