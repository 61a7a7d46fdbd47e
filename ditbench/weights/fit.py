"""Which weights of a file fit a model: by name and shape, with everything that does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ditbench.errors import DitbenchError
from ditbench.models.blocks.plain import PlainBlock
from ditbench.models.dit import DiT
from ditbench.weights.names import Tensors

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

POSITIONS = "pos_embed"  # a constant that is computed where the file has another grid
CLASSES = "y_embedder.embedding_table.weight"
_LISTED = 8  # kinds of differences
_BLOCK = re.compile(r"blocks\.(\d+)\.")


class Difference(NamedTuple):
    """A weight whose shapes differ; None where it is missing."""

    name: str
    expected: Shape | None
    found: Shape | None


@dataclass(frozen=True)
class Fit:
    """What of a file a model takes."""

    loaded: tuple[str, ...]
    fresh: tuple[Difference, ...]  # weights of the model that keep their initial values
    unused: tuple[Difference, ...]  # weights of the file that the model does not have
    without_null: bool  # the file has embeddings of the classes, but none of the null class

    @property
    def missing(self) -> tuple[Difference, ...]:
        """What starts fresh, except for positions, which are not weights."""
        return tuple(each for each in self.fresh if each.name != POSITIONS)


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


def match(arguments: Mapping[str, Any], found: Shapes) -> Fit:
    """Match the shapes in a file to the model `DiT(**arguments)`.

    What every DiT has must fit, apart from the classes: another number of them starts fresh. The
    weights of a block's own start fresh where the file lacks them in all blocks, or has them in
    another shape in all. A DitbenchError names everything that does not fit, with both shapes.
    """
    plain = dict(arguments, block=PlainBlock, options={}, qk_norm=False, registers=0)
    with torch.device("meta"):
        expected, common = (shapes_of(DiT(**each).state_dict()) for each in (arguments, plain))
    rows, *width = expected.get(CLASSES, (0,))
    without_null = found.get(CLASSES) == (rows - 1, *width)
    fits = {name for name, shape in expected.items() if found.get(name) == shape}
    fits |= {CLASSES} if without_null else set()
    kinds = {_kind(name) for name in fits}
    differences = [Difference(n, s, found.get(n)) for n, s in expected.items() if n not in fits]
    unused = [Difference(name, None, found[name]) for name in found if name not in expected]

    def is_wrong(each: Difference) -> bool:
        if each.name == POSITIONS:
            return False
        if each.name == CLASSES and each.found:
            return each.found[1:] != (*width,)
        return common.get(each.name) == each.expected or _kind(each.name) in kinds

    wrong = [each for each in differences if is_wrong(each)]
    wrong += [each for each in unused if _index(each.name) >= arguments["size"].depth]
    if wrong:
        raise DitbenchError(f"it does not fit the model: {listed(wrong)}")
    return Fit(tuple(sorted(fits)), tuple(differences), tuple(unused), without_null)


@torch.no_grad()
def load(model: nn.Module, tensors: Tensors, fit: Fit, path: Path) -> None:
    """Copy the weights at a path that fit into a model; a DitbenchError if one is not finite."""
    own = model.state_dict()
    for name in fit.loaded:
        value = tensors[name]
        if not value.isfinite().all():
            what = f"{path}: {name} is not finite"
            raise DitbenchError(what, "name the weights of another step")
        own[name][: len(value)].copy_(value)  # the null class, last, may be missing


def listed(differences: Iterable[Difference]) -> str:
    """Differences in words; those that blocks have in common, once."""
    kinds = dict.fromkeys((_kind(name), expected, found) for name, expected, found in differences)
    parts = [
        f"{name} (expected {_written(expected)}, found {_written(found)})"
        for name, expected, found in kinds
    ]
    more = len(parts) - _LISTED
    return ", ".join(parts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _kind(name: str) -> str:
    """A weight's name, with a star for the number of its block."""
    return _BLOCK.sub("blocks.*.", name)


def _index(name: str) -> int:
    """The number of a weight's block; -1 for others."""
    found = _BLOCK.match(name)
    return int(found[1]) if found else -1


def _written(shape: Shape | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape))
