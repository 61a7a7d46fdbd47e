"""Initial weights: the rules of the DiT paper, with one generator per parameter.

A parameter's draw depends on the seed and on its own name alone. Two models with a module in common
therefore start with equal weights there, which makes blocks comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.models.layers import TimestepEmbedder
from ditbench.seeds import generator

EMBEDDING_STD = 0.02

# How a parameter starts: it is filled in place from its own generator.
Rule = Callable[[Tensor, torch.Generator], object]
# A glob pattern of parameter names in the model, and their rule; of several that match, the last.
Rules = tuple[tuple[str, Rule], ...]


def zero(weight: Tensor, _draws: torch.Generator) -> None:
    """All zeros."""
    weight.zero_()


def normal(std: float) -> Rule:
    """N(0, std²)."""
    return lambda weight, draws: weight.normal_(std=std, generator=draws)


def unit_rows(weight: Tensor, draws: torch.Generator) -> None:
    """N(0, 1/D) for rows of D numbers: each row has about the length 1."""
    weight.normal_(std=weight.shape[-1] ** -0.5, generator=draws)


@torch.no_grad()
def initialize(model: nn.Module, rules: Rules, seed: int) -> None:
    """Set every weight of a DiT (Peebles & Xie 2022, section 4, and the released weights).

    Linear layers are Xavier-uniform with zero bias, q, k and v as one matrix; the patch embedding
    is Xavier-uniform on its flattened weight; embedding tables and both linear layers of the
    timestep embedder are N(0, 0.02²); gains of norms are one. The block's rules override these, and
    the output layer is zero. A DitbenchError names a parameter that no rule covers.
    """
    modules = dict(model.named_modules())
    of_time = tuple(f"{name}." for name, m in modules.items() if isinstance(m, TimestepEmbedder))
    covered = set()
    for name, module in modules.items():
        draws = generator(seed, "init", name)
        if _fill(module, draws, of_time=name.startswith(of_time)):
            covered |= {f"{name}.{own}" for own, _ in module.named_parameters(recurse=False)}
    for name, parameter in model.named_parameters():
        matching = [rule for pattern, rule in rules if fnmatchcase(name, pattern)]
        if matching:
            matching[-1](parameter, generator(seed, "init", name))
        elif name not in covered:
            hint = "name it in the block's `initial`: see docs/your-own.md"
            raise DitbenchError(f"no rule initialises {name}", hint, EXIT_FAILED)
    nn.init.zeros_(model.get_parameter("final_layer.linear.weight"))


def _fill(module: nn.Module, draws: torch.Generator, *, of_time: bool) -> bool:
    """Set a module's own weights; False if no rule covers modules of its kind."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        if of_time:
            nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=draws)
        else:
            nn.init.xavier_uniform_(module.weight.flatten(1), generator=draws)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=draws)
    elif isinstance(module, nn.RMSNorm):
        nn.init.ones_(module.weight)
    else:
        return False
    return True
