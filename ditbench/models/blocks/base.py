"""The base class of conditioning blocks, and the conditioning that blocks receive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ditbench.models.init import Rules
from ditbench.models.layers import Attention, Mlp, Spec
from ditbench.models.sizes import ModelSize

__all__ = ["Block", "Conditioning", "Spec"]


class Conditioning:
    """The embeddings of timestep t and class c, which every block receives.

    Of what its block does not read, a model has no embedder; reading it raises a ValueError.
    """

    t: Tensor  # the embedding of the timestep, (N, D)
    c: Tensor  # the embedding of the class, (N, D)
    vector: Tensor  # the sum of both, or the only one, (N, D)
    tokens: Tensor  # both as tokens, t first, (N, 2, D); (N, 1, D) where there is only one

    @classmethod
    def of(cls, t: Tensor | None, c: Tensor | None) -> Conditioning:
        """Join the embeddings of the timestep t (N, D) and of the class c (N, D)."""
        self = cls()
        given = {name: part for name, part in (("t", t), ("c", c)) if part is not None}
        vars(self).update(given)
        if given:
            first, *rest = given.values()
            # In mixed precision a linear layer's type, or every block would convert it.
            self.vector = sum(rest, start=first).type_as(first)
            self.tokens = torch.stack([first, *rest], dim=1)
        return self

    def __getattr__(self, name: str) -> Tensor:
        """What the model does not have."""
        if name not in Conditioning.__annotations__:
            raise AttributeError(f"Conditioning has t, c, vector and tokens, not {name}")
        what, attribute = _DECLARED.get(name, ("either", "reads_timestep and reads_class"))
        raise ValueError(f"this block does not read {what}: it declares {attribute} = False")


_DECLARED = {"t": ("the timestep", "reads_timestep"), "c": ("the class", "reads_class")}


class Block(nn.Module):
    """A transformer block that conditions its tokens in one particular way.

    Every block has self-attention `attn` and `mlp`; a subclass, in a file of its own, adds what
    conditions them and defines `forward`. Class attributes and class methods declare what it needs
    from the model. Every parameter has to reach the output. A block receives its `index`, from 0 to
    spec.depth - 1, and its options in `spec`.
    """

    summary: ClassVar[str] = ""  # how the conditioning enters, in one line
    formula: ClassVar[str] = ""  # the block in one line of mathematics
    source: ClassVar[str] = ""  # the paper and section
    own_tokens: ClassVar[str] = "none"  # the tokens that it adds to the image's, in words
    # What it is before training: `identity` where its output equals its input; otherwise in words.
    starts_as: ClassVar[str] = "random"
    reads_timestep: ClassVar[bool] = True  # without, the model has no embedder for it
    reads_class: ClassVar[bool] = True
    adaptive_final_layer: ClassVar[bool] = False  # whether `final_vector` modulates the final layer
    initial: ClassVar[Rules] = ()  # for parameters that do not start as in every DiT, see `init`
    fused: ClassVar[bool] = False  # whether it uses `spec.ops`, so that kernels speed it up

    def __init__(self, spec: Spec, index: int) -> None:  # noqa: ARG002 (subclasses use the index)
        super().__init__()
        self.spec = spec
        self.attn = Attention(spec)
        self.mlp = Mlp(spec)

    def forward(self, x: Tensor, c: Any) -> Tensor:
        """Transform the tokens x (N, T, D), given the conditioning c: (N, T, D).

        `c` is a `Conditioning`, or what the module from `shared` made of it.
        """
        raise NotImplementedError

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """`forward`, called by `ops.call`."""
        return self.spec.ops.call(super().__call__, *inputs, **named)

    def branch(
        self,
        x: Tensor,
        f: Callable[[Tensor], Tensor],
        shift: Tensor | None = None,
        scale: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> Tensor:
        """Compute x + gate * f(norm(x) * (1 + scale) + shift), for vectors (N, 1, D) or None."""
        ops = self.spec.ops
        return ops.add(x, f(ops.norm(x, shift, scale, self.spec.norm)), gate)

    @classmethod
    def options(cls, size: ModelSize) -> dict[str, int]:  # noqa: ARG003
        """The block's own numbers, all above 0, by default; `--set options.NAME=VALUE` sets one."""
        return {}

    @classmethod
    def shared(cls, spec: Spec) -> nn.Module | None:  # noqa: ARG003
        """A module that all blocks share: it maps the `Conditioning` to the `c` that they receive.

        It is called once per forward pass. None passes the `Conditioning` itself.
        """
        return None

    @classmethod
    def append_tokens(cls, x: Tensor, c: Any) -> Tensor:  # noqa: ARG003
        """The sequence for the blocks: the image tokens x (N, T, D), then tokens of its own."""
        return x

    @classmethod
    def run_blocks(cls, blocks: nn.ModuleList, x: Tensor, c: Any) -> Tensor:
        """Pass the image tokens x (N, T, D) through all blocks: T or more, the image's first."""
        x = cls.append_tokens(x, c)
        for block in blocks:
            x = block(x, c)
        return x

    @classmethod
    def final_vector(cls, c: Conditioning) -> Tensor | None:
        """The vector (N, D) that modulates the final layer; None where it is not adaptive."""
        return c.vector if cls.adaptive_final_layer else None
