"""`ditbench blocks check`: the rules that make the runs of a block comparable with others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ditbench.errors import DitbenchError
from ditbench.models.blocks.base import Block
from ditbench.plugins.check import checks
from ditbench.plugins.lookup import find_block
from ditbench.plugins.user_traceback import in_one_line

# By name: the check, and the hint for failures that have none of their own.
CHECKS: dict[str, tuple[Callable[[type[Block]], str], str]] = {
    "shapes": (checks.shapes, "forward(x, c) takes x (N, T, D), which is (5, 24, 32) in the first "
               "model, and returns as many; c.t, c.c and c.vector are (N, D)"),
    "determinism": (checks.determinism, "draw nothing, and mix no images of a batch"),
    "weights": (checks.weights, "give each parameter that has no rule one in `initial`"),
    "start": (checks.start, "starts_as is 'identity', or says in words what it is"),
    "gradients": (checks.gradients, "every parameter has to reach the output"),
    "conditioning": (checks.conditioning, "see reads_timestep and reads_class"),
    "float64": (checks.float64, "make tensors like x: x.new_zeros(...), or dtype=x.dtype"),
    "bf16": (checks.bf16, "keep the tokens in float32: x = x + h does, h + x.to(h.dtype) does not"),
    "cost": (checks.cost, "make tensors where x is: device=x.device"),
    "checkpoint": (checks.checkpoint, "keep all state in parameters, each under one name"),
    "compile": (checks.compiled, "no .item(), no printing, no branches on values of tensors"),
}  # fmt: skip
# Without these, the other checks mean nothing.
FIRST = ("shapes", "determinism")


class Outcome(NamedTuple):
    """The result of one check: `ok` or `failed`, the finding, and the hint for a failure."""

    check: str
    result: str
    detail: str
    help: str = ""

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.result == "ok"


def check_block(name: str) -> Iterator[Outcome]:
    """Check a block, by name or location, on tiny models on the CPU; errors as `find_block`.

    The failure of a check in `FIRST` is the last outcome.
    """
    block = find_block(name)
    first: dict[str, str] = {}
    for check, (run, hint) in CHECKS.items():
        try:
            outcome = Outcome(check, "ok", run(block))
        except DitbenchError as error:
            outcome = Outcome(check, "failed", error.message, error.hint or hint)
        except (Exception, SystemExit) as error:  # of the block's code
            detail = in_one_line(error, inspect.getsourcefile(block))
            outcome = Outcome(check, "failed", detail, hint)
        earlier = first.setdefault(outcome.detail, check)
        if not outcome.ok and earlier != check:  # one mistake often fails many checks
            outcome = Outcome(check, "failed", f"the same as {earlier}")
        yield outcome
        if check in FIRST and not outcome.ok:
            return
