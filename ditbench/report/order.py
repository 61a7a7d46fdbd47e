"""The order of blocks in tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The blocks of the DiT paper in the order of its section 3.2.
PAPER_ORDER = ("in-context", "cross-attention", "adaln", "adaln-zero")


def in_order(blocks: Iterable[str]) -> list[str]:
    """Distinct block names: the paper's first, in its order, then the others alphabetically."""
    names = set(blocks)
    return [name for name in PAPER_ORDER if name in names] + sorted(names.difference(PAPER_ORDER))
