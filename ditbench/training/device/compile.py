"""torch.compile, applied to each block of a model and to the loss after its output."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from ditbench.models.dit import DiT
from ditbench.objectives.base import Objective
from ditbench.training.device.repair import repaired

# torch keeps at most 8 compilations of a function by default. One process may train many blocks,
# sizes and precisions, which share functions.
MOST_KEPT = 256


def compile_blocks(model: DiT) -> None:
    """Compile each block in place. Blocks of one class share what was compiled."""
    _configure()
    for block in model.blocks:
        block.compile(dynamic=False)


def compile_loss(objective: Objective) -> None:
    """Compile the objective's loss after the model's output, in place."""
    _configure()
    objective.loss = _compiled(type(objective).loss).__get__(objective)  # type: ignore[method-assign]


@cache
def unavailable_reason(device: torch.device) -> str | None:
    """Why torch cannot compile for a device, in one line; None if it can: it is tried out."""
    try:
        _configure()
        increment = torch.compile(lambda x: x + 1, dynamic=False)
        repaired(lambda: increment(torch.zeros(8, device=device)))
    except Exception as error:  # whatever a toolchain lacks: headers, room for files ...
        return reason_of(error)
    return None


def reason_of(error: Exception) -> str:
    """The message of torch's compiler in one line, without the pages below it."""
    lines = str(error).splitlines() or [type(error).__name__]
    # The first line may only introduce the second: "backend='inductor' raised:".
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False)


@cache
def _configure() -> None:
    import torch._dynamo  # takes seconds: only where something is compiled

    # It warns of a CUDA toolkit without a GPU, which does not matter when compiling for a CPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_KEPT)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 4 * MOST_KEPT)
