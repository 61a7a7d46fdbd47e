"""Blocks that share one regression of their six vectors, to which each adds something."""

from __future__ import annotations

from torch import Tensor, nn

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import Linear

VECTORS = 6  # shift, scale and gate of both branches


class SharedModulation(nn.Module):
    """The regression of all blocks, called once per forward pass."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        D = spec.hidden_size
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(D, VECTORS * D, spec.ops))

    def forward(self, c: Conditioning) -> tuple[Tensor, Tensor]:
        vectors = self.adaLN_modulation(c.vector).unflatten(-1, (VECTORS, -1))  # (N, 6, D)
        return c.vector, vectors


class SharedModulationBlock(Block):
    """adaLN-Zero's branches; a subclass says in `vectors` where shift, scale and gate come from."""

    starts_as = "identity"
    adaptive_final_layer = True
    fused = True

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module:
        return SharedModulation(spec)

    def vectors(self, vector: Tensor, shared: Tensor) -> Tensor:
        """The block's six vectors (N, 6, D), from the conditioning (N, D) and the shared ones."""
        raise NotImplementedError

    def forward(self, x: Tensor, c: tuple[Tensor, Tensor]) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.vectors(*c).unsqueeze(2).unbind(1)
        x = self.branch(x, self.attn, shift1, scale1, gate1)  # (N, T, D)
        return self.branch(x, self.mlp, shift2, scale2, gate2)
