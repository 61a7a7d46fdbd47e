"""What a strategy has to keep to so that runs with it mean something: checked one by one."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditbench.errors import DitbenchError
from ditbench.plugins.check import information, initial, numbers, shapes
from ditbench.plugins.check.subject import BrokenPromiseError, Subject
from ditbench.plugins.lookup import find_block
from ditbench.plugins.user_traceback import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKS: dict[str, tuple[Callable[[Subject], str], str]] = {
    # A name, what finds out, and what helps where an exception ends it.
    "shapes": (shapes.of_tokens, "forward takes and returns a Stream; constants are made there"),
    "weights": (initial.of_weights, "name what starts in a way of its own in `initial`"),
    "start": (initial.of_tokens, "starts_as says it: 'identity', or otherwise in words"),
    "gradients": (information.of_parameters, "every parameter has to reach the output"),
    "conditioning": (information.of_conditioning, "see reads_timestep and reads_class"),
    "determinism": (numbers.of_repetition, "draw nothing, and mix no images of a batch"),
    "float64": (numbers.in_float64, "make tensors like x: x.new_zeros(...), or dtype=x.dtype"),
    "bf16": (numbers.in_bf16, "the residual stream stays float32: what is added is cast to it"),
    "kernels": (shapes.of_vectors, "vectors of one stream are views of one tensor: `regress`"),
    "cost": (numbers.of_cost, "make tensors where x is: device=x.device"),
    "checkpoint": (numbers.of_checkpoint, "keep what is learned in parameters, and nothing twice"),
    "compile": (numbers.compiled, "no .item(), no printing, no branches on values of tensors"),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        check: its name.
        ok: whether the strategy keeps to it.
        detail: what was found, or what is wrong and where, in a line.
        hint: what to do about it; empty where nothing is wrong.
    """

    check: str
    ok: bool
    detail: str
    hint: str = ""


def check_block(name: str) -> Iterator[Outcome]:
    """Check a strategy on tiny models on the CPU, a matter of seconds.

    Args:
        name: of a strategy, or the place of one: `./my_block.py:MyBlock`.

    Raises:
        DitbenchError: it is unknown or cannot be imported.
    """
    strategy = find_block(name)
    subject = Subject(name, strategy, inspect.getsourcefile(strategy))
    seen: dict[str, str] = {}
    for check, (find_out, hint) in CHECKS.items():
        outcome = _outcome(check, find_out, hint, subject)
        first = seen.setdefault(outcome.detail, check)
        if outcome.ok or first == check:
            yield outcome
        else:  # one mistake often fails all that follows
            yield Outcome(check, ok=False, detail=f"the same as {first}")


def _outcome(
    check: str, find_out: Callable[[Subject], str], hint: str, subject: Subject
) -> Outcome:
    try:
        return Outcome(check, ok=True, detail=find_out(subject))
    except BrokenPromiseError as broken:
        return Outcome(check, ok=False, detail=broken.reason, hint=broken.hint or hint)
    except (Exception, SystemExit) as error:  # whatever the strategy's code raises
        if isinstance(error, DitbenchError) and error.__cause__ is None:
            return Outcome(check, ok=False, detail=error.message, hint=error.hint or hint)
        return Outcome(
            check, ok=False, detail=in_one_line(subject.file, error.__cause__ or error), hint=hint
        )
