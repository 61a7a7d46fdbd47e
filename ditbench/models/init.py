"""Initial weights: the rules of the DiT paper, and one generator a parameter.

A parameter's draw depends on the seed and its own name alone. Two models which have a module in
common therefore start with the same weights in it, whatever else differs (what makes blocks
comparable), and the order in which modules are built does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ditbench.seeds import generator

if TYPE_CHECKING:
    from ditbench.models.dit import DiT

EMBEDDING_STD = 0.02


@torch.no_grad()
def initialize(model: DiT, seed: int) -> None:
    """Set every weight of a DiT (Peebles & Xie 2022, section 4, and the published weights' facts).

    Linear layers are Xavier-uniform with zero bias, q, k and v as one matrix; the patch embedding
    is Xavier-uniform on its flattened weight; the label table and both linears of the timestep
    embedder are N(0, 0.02); the output layer is zero; a strategy with `zero_modulation` starts
    its modulations at zero, others as any linear layer.
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
    for name, module in model.t_embedder.named_modules(prefix="t_embedder"):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=_of(seed, name))
    if model.block_class.zero_modulation:
        for name, module in model.named_modules():
            if name.endswith("adaLN_modulation.1"):
                nn.init.zeros_(module.weight)
    nn.init.zeros_(model.final_layer.linear.weight)


def _of(seed: int, name: str) -> torch.Generator:
    return generator(seed, "init", name)
