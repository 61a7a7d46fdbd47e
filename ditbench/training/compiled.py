"""The loss of a batch as torch's compiler makes it: one function for all runs of a process."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ditbench.objectives.base import Objective
    from ditbench.objectives.guidance import Model

# Of one function so many compilations are kept: one for each block, objective, size and precision
# that a process trains. torch's own limit is 8.
MOST_KEPT = 256
BACKEND = "inductor"


class CompiledLoss:
    """`objective.loss_at`, compiled when it is first called for a model of that kind.

    Seeds of one block, and whatever else differs in numbers alone, share what was compiled.

    Args:
        objective: the loss.

    Raises:
        RuntimeError: of torch, when called where torch cannot compile.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._compiled = _compile(_loss_at, BACKEND)
        self._called = False

    def __call__(self, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The loss of one batch; see `Objective.loss_at`."""
        if not self._called:
            # What an objective makes once, such as a table on the device, is no part of a step:
            # compiled with it, the next step would have to be compiled anew, without it. Autocast
            # would remember weights of which no gradient is wanted.
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                self.objective.loss_at(model, x, y, t, noise)
            self._called = True
        return self._compiled(self.objective, model, x, y, t, noise)


@cache
def obstacle_to_compiling(device: torch.device) -> str | None:
    """Why torch cannot compile for a device here, in a line; None where it can.

    It is tried, because a compiler that is there may still lack its headers, or room for its files.
    """
    try:
        _compile(_increment, BACKEND)(torch.zeros(8, device=device))
    except Exception as error:  # whatever it is: there is no list of what a toolchain can lack
        return reason_of(error)
    return None


def reason_of(error: Exception) -> str:
    """What torch's compiler says, in a line, without the pages that it says below."""
    lines = str(error).splitlines() or [type(error).__name__]
    # The first may only say whose words the second has: "backend='inductor' raised:".
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])


@cache
def _compile(function: Callable[..., Tensor], backend: str) -> Callable[..., Tensor]:
    import torch._dynamo  # seconds: only for whoever compiles

    # It warns of a CUDA toolkit without a GPU, which is nothing to whoever compiles for a CPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_KEPT)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 4 * MOST_KEPT)
    return torch.compile(function, fullgraph=True, dynamic=False, backend=backend)


def _loss_at(
    objective: Objective, model: Model, x: Tensor, y: Tensor, t: Tensor, noise: Tensor
) -> Tensor:
    """A function of the objective too: its method would be compiled anew for every run."""
    return objective.loss_at(model, x, y, t, noise)


def _increment(x: Tensor) -> Tensor:
    return x + 1
