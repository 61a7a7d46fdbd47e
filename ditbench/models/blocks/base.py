"""What a conditioning strategy is: a transformer block and what it asks of the model around it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ditbench.models.layers import Attention, Mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.stream import Stream


@dataclass(frozen=True)
class Conditioning:
    """Timestep t and class c, embedded: what every block is told.

    Attributes:
        vector: the sum of both embeddings, (N, D).
        tokens: the two embeddings apart, t first, (N, 2, D).
    """

    vector: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, t: Tensor, c: Tensor) -> Conditioning:
        """Join the embeddings of the timestep t (N, D) and of the class c (N, D)."""
        return cls(vector=t + c, tokens=torch.stack([t, c], dim=1))


class Block(nn.Module):
    """A transformer block that conditions its tokens in one particular way.

    Every strategy has self-attention `attn` and `mlp`, each behind a `norm`; a subclass, in a file
    of its own, adds what conditions them. The class attributes say what it asks of the
    model; the model never asks for its name.

    Attributes:
        summary: how the conditioning enters, in one line.
        formula: the block in a line of mathematics.
        source: the paper and section it comes from.
        adaptive_final_layer: whether the conditioning also modulates the final layer.
        zero_modulation: whether the layers that regress modulations start at zero.
    """

    summary: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    adaptive_final_layer: ClassVar[bool] = False
    zero_modulation: ClassVar[bool] = False

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn = Attention(hidden_size, num_heads)
        self.mlp = Mlp(hidden_size, mlp_ratio)

    @classmethod
    def join(cls, x: Tensor, c: Conditioning) -> Tensor:  # noqa: ARG003
        """The sequence that the blocks see, from the image tokens x (N, T, D).

        A strategy with tokens of its own puts them behind the image tokens; the model drops
        whatever follows the first T after the last block.
        """
        return x

    @classmethod
    def prepare(cls, blocks: Sequence[Any], c: Conditioning) -> Sequence[Any]:
        """What each of the model's blocks is told, in their order: here, the conditioning itself.

        A strategy that computes something small from the conditioning in every block does it here,
        for all of them by one matrix product.
        """
        return [c] * len(blocks)

    @abstractmethod
    def forward(self, x: Stream, c: Any) -> Stream:
        """Transform the tokens x (N, T, D), told what `prepare` made of the conditioning."""
