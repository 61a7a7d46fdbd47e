"""`ditbench blocks check`: what a block must do so that its runs can be compared with others."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.plugins.check import numbers, structure
from ditbench.plugins.check.subject import CheckError, Subject
from ditbench.plugins.lookup import find_block
from ditbench.plugins.user_traceback import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# By name: the check, and the hint for an exception that ends it.
CHECKS: dict[str, tuple[Callable[[Subject], str], str]] = {
    "shapes": (structure.shapes, "forward(x, c) takes tokens (N, T, D) and returns as many"),
    "weights": (structure.weights, "give each parameter that has no rule one in `initial`"),
    "start": (structure.start, "starts_as is 'identity', or says in words what it is"),
    "gradients": (structure.gradients, "every parameter has to reach the output"),
    "conditioning": (structure.conditioning, "see reads_timestep and reads_class"),
    "determinism": (numbers.determinism, "draw nothing, and mix no images of a batch"),
    "float64": (numbers.float64, "make tensors like x: x.new_zeros(...), or dtype=x.dtype"),
    "bf16": (numbers.bf16, "keep the tokens in float32: x = x + h does, h = h + x.to(h.dtype) not"),
    "cost": (numbers.cost, "make tensors where x is: device=x.device"),
    "checkpoint": (numbers.checkpoint, "keep all state in parameters, each under one name"),
    "compile": (numbers.compiled, "no .item(), no printing, no branches on values of tensors"),
}


@dataclass(frozen=True)
class Outcome:
    """The result of one check.

    Attributes:
        check: its name.
        ok: whether it passed.
        detail: what was found, in one line.
        hint: what to do about a failure; empty otherwise.
    """

    check: str
    ok: bool
    detail: str
    hint: str = ""


def check_block(name: str) -> Iterator[Outcome]:
    """Check a block on tiny models on the CPU, one outcome after the other.

    Args:
        name: of a block, or the location of one: `./my_block.py:MyBlock`.

    Raises:
        DitbenchError: it is unknown or cannot be loaded.
    """
    block = find_block(name)
    subject = Subject(block, inspect.getsourcefile(block))
    first: dict[str, str] = {}
    for check, (run, hint) in CHECKS.items():
        try:
            outcome = Outcome(check, ok=True, detail=run(subject))
        except CheckError as error:
            outcome = Outcome(check, ok=False, detail=str(error), hint=error.hint or hint)
        except DitbenchError as error:
            outcome = Outcome(check, ok=False, detail=error.message, hint=error.hint or hint)
        except (Exception, SystemExit) as error:  # of the block's code
            detail = in_one_line(error, subject.file)
            outcome = Outcome(check, ok=False, detail=detail, hint=hint)
        earlier = first.setdefault(outcome.detail, check)
        if not outcome.ok and earlier != check:  # one mistake often fails all later checks
            outcome = Outcome(check, ok=False, detail=f"the same as {earlier}")
        yield outcome
