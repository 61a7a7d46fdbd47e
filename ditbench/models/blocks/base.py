"""What a conditioning strategy is: a transformer block and what it asks of the model around it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ditbench.models.layers import Attention, Mlp
from ditbench.models.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ditbench.models.init import Rules
    from ditbench.models.sizes import ModelSize


@dataclass(frozen=True)
class Spec:
    """What the modules of a strategy are built from.

    Attributes:
        hidden_size: D.
        num_heads: of each attention; they divide D.
        mlp_ratio: inner width of the MLP over D.
        depth: how many blocks the model has.
        options: the strategy's own, by name, all of them; see `Block.options`.
    """

    hidden_size: int
    num_heads: int
    mlp_ratio: float
    depth: int
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Conditioning:
    """Timestep t and class c, embedded: what every block is told.

    A strategy that does not read one of them is not told it: asking for it is a ValueError.
    """

    timestep: Tensor | None
    label: Tensor | None
    total: Tensor | None

    @classmethod
    def of(cls, t: Tensor | None, c: Tensor | None) -> Conditioning:
        """Join the embeddings of the timestep t (N, D) and of the class c (N, D)."""
        told = [part for part in (t, c) if part is not None]
        return cls(t, c, total=reduce(torch.add, told) if told else None)

    @property
    def t(self) -> Tensor:
        """The embedding of the timestep, (N, D)."""
        return _told(self.timestep, "the timestep", "reads_timestep")

    @property
    def c(self) -> Tensor:
        """The embedding of the class, (N, D)."""
        return _told(self.label, "the class", "reads_class")

    @property
    def vector(self) -> Tensor:
        """The sum of both embeddings or the one that is told, (N, D)."""
        return _told(self.total, "anything", "reads_timestep and reads_class")

    @property
    def tokens(self) -> Tensor:
        """The embeddings apart, t first, (N, 2, D); (N, 1, D) where one is told."""
        told = [part for part in (self.timestep, self.label) if part is not None]
        return torch.stack(told, dim=1)


def _told(part: Tensor | None, what: str, attribute: str) -> Tensor:
    if part is None:
        raise ValueError(f"this strategy is not told {what}: it declares {attribute} = False")
    return part


class Block(nn.Module):
    """A transformer block that conditions its tokens in one particular way.

    Every strategy has self-attention `attn` and `mlp`, each behind a `norm`; a subclass, in a file
    of its own, adds what conditions them. The class attributes and methods say what it asks of the
    model; the model never asks for its name. Every parameter has to reach the output.

    Args:
        spec: of the model, with the strategy's options.
        index: of the block, 0..spec.depth - 1.

    Attributes:
        summary: how the conditioning enters, in one line.
        formula: the block in a line of mathematics.
        source: the paper and section it comes from.
        own_tokens: the tokens that it adds to the image's, in words.
        starts_as: what a block is before training: `identity` where its tokens leave as they came,
            exactly; otherwise in words.
        reads_timestep: whether it uses t at all; without, the model has no embedder for it.
        reads_class: whether it uses the class at all; likewise.
        adaptive_final_layer: whether the conditioning also modulates the final layer.
        initial: how parameters start that do not start as in any DiT: a glob pattern of names in
            the model, and a rule; of several that match, the last. See `ditbench.models.init`.
    """

    summary: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    own_tokens: ClassVar[str] = "none"
    starts_as: ClassVar[str] = "random"
    reads_timestep: ClassVar[bool] = True
    reads_class: ClassVar[bool] = True
    adaptive_final_layer: ClassVar[bool] = False
    initial: ClassVar[Rules] = ()

    def __init__(self, spec: Spec, index: int) -> None:  # noqa: ARG002 (of use to subclasses)
        super().__init__()
        self.attn = Attention(spec.hidden_size, spec.num_heads)
        self.mlp = Mlp(spec.hidden_size, spec.mlp_ratio)

    @classmethod
    def options(cls, size: ModelSize) -> Mapping[str, int]:  # noqa: ARG003
        """The strategy's own numbers, all above 0, with their defaults for a model of that size.

        `--set options.NAME=VALUE` replaces one.
        """
        return {}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module | None:  # noqa: ARG003
        """A module that all blocks of a model share, or None.

        It is called once a forward pass, with the `Conditioning`; what it returns takes the place
        of the conditioning in `chain`, `join` and `prepare`.
        """
        return None

    @classmethod
    def chain(cls, blocks: Sequence[Any], x: Tensor, c: Any) -> Tensor:
        """Pass the image tokens x (N, T, D) through all blocks: (N, T, D).

        Here `join`, then one block after the other, each told its part of `prepare`; whatever
        follows the first T tokens is dropped in the end.
        """
        hidden = Stream(cls.join(x, c))
        for block, told in zip(blocks, cls.prepare(blocks, c), strict=True):
            hidden = block(hidden, told)
        return hidden.tokens()[:, : x.shape[1]]

    @classmethod
    def join(cls, x: Tensor, c: Any) -> Tensor:  # noqa: ARG003
        """The sequence that the blocks see, from the image tokens x (N, T, D).

        A strategy with tokens of its own puts them behind the image tokens.
        """
        return x

    @classmethod
    def prepare(cls, blocks: Sequence[Any], c: Any) -> Sequence[Any]:
        """What each of the model's blocks is told, in their order: here, the conditioning itself.

        A strategy that computes something small from the conditioning in every block does it here,
        for all of them by one matrix product.
        """
        return [c] * len(blocks)

    @classmethod
    def final_vector(cls, c: Conditioning) -> Tensor | None:
        """The vector (N, D) that modulates the final layer; None where it is not adaptive."""
        return c.vector if cls.adaptive_final_layer else None

    @abstractmethod
    def forward(self, x: Any, told: Any) -> Any:
        """Transform the tokens, a `Stream` of (N, T, D), told what `prepare` made for this block.

        `x.norm(shift, scale)` gives the stream and its norm, `x.add(branch, gate)` the stream after
        a branch. The vectors (N, 1, D) that modulate one stream are views of one tensor, or
        of tensors of one layout: a kernel reads them by one stride.
        """
