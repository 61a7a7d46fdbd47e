"""The residual stream between blocks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ditbench.models import ops


@dataclass(frozen=True)
class Stream:
    """Tokens x (N, T, D), and what the last branch has to add to them.

    An addition waits for the norm behind it, so that one kernel does both: alone, either does
    little but read and write the tokens.

    Attributes:
        x: the tokens before the last branch.
        branch: what it adds (N, T, D), or None.
        gate: its factor (N, 1, D), or None.
    """

    x: Tensor
    branch: Tensor | None = None
    gate: Tensor | None = None

    def add(self, branch: Tensor, gate: Tensor | None = None) -> Stream:
        """The stream after a branch: x + gate * branch."""
        return Stream(self.tokens(), branch, gate)

    def norm(
        self, shift: Tensor | None = None, scale: Tensor | None = None
    ) -> tuple[Stream, Tensor]:
        """The stream, and a layer norm of it (N, T, D), shifted and scaled by vectors (N, 1, D)."""
        if self.branch is None:
            return self, ops.norm(self.x, shift, scale)
        x, out = ops.add_norm(self.x, self.branch, self.gate, shift, scale)
        return Stream(x), out

    def tokens(self) -> Tensor:
        """The tokens (N, T, D), with all that was added."""
        return self.x if self.branch is None else ops.add(self.x, self.branch, self.gate)
