"""The residual stream between blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ditbench.models import ops

if TYPE_CHECKING:
    from ditbench.models.switches import NormKind


@dataclass(frozen=True)
class Stream:
    """Tokens x (N, T, D), and what the last branch has to add to them.

    An addition waits for the norm behind it, so that one kernel does both: alone, either does
    little but read and write the tokens.

    Attributes:
        x: the tokens before the last branch.
        branch: what it adds (N, T, D), or None.
        gate: its factor (N, 1, D), or None.
        kind: what `norm` is; the model says it, see `in_norm`.
    """

    x: Tensor
    branch: Tensor | None = None
    gate: Tensor | None = None
    kind: NormKind = "layer"

    def add(self, branch: Tensor, gate: Tensor | None = None) -> Stream:
        """The stream after a branch: x + gate * branch."""
        return Stream(self.tokens(), branch, gate, self.kind)

    def norm(
        self, shift: Tensor | None = None, scale: Tensor | None = None
    ) -> tuple[Stream, Tensor]:
        """The stream, and the norm of it (N, T, D), shifted and scaled by vectors (N, 1, D)."""
        if self.branch is None:
            return self, ops.norm(self.x, shift, scale, kind=self.kind)
        x, out = ops.add_norm(self.x, self.branch, self.gate, shift, scale, kind=self.kind)
        return Stream(x, kind=self.kind), out

    def tokens(self) -> Tensor:
        """The tokens (N, T, D), with all that was added."""
        return self.x if self.branch is None else ops.add(self.x, self.branch, self.gate)


def in_norm(kind: NormKind, streams: Any) -> Any:
    """A stream, or each of several in tuples and lists, with another norm."""
    if isinstance(streams, Stream):
        return replace(streams, kind=kind)
    if isinstance(streams, tuple | list):
        return type(streams)(in_norm(kind, each) for each in streams)
    return streams
