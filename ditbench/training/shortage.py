"""What a machine lacks, in one line: memory that suffices, a compiler."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.plugins.lookup import block_errors
from ditbench.training.backend import cannot_run
from ditbench.training.compile import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.training.plan import Plan

_COMPILER = ("torch._dynamo", "torch._inductor")


@contextmanager
def naming_what_failed(plan: Plan) -> Iterator[None]:
    """Turn what stops training into a DitbenchError.

    It is a lack of memory, on whatever device, a failed compilation, or whatever a strategy that
    is not ditbench's own raises.
    """
    with block_errors(plan.config.block, EXIT_FAILED), naming_what_is_too_large(plan):
        try:
            yield
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # the CPU's allocator has no class for it
                raise torch.OutOfMemoryError(str(error)) from error
            if type(error).__module__.startswith(_COMPILER):
                raise cannot_run("compile", reason_of(error)) from error
            raise


@contextmanager
def naming_what_is_too_large(run: Plan) -> Iterator[None]:
    """Turn running out of memory into a DitbenchError that says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        config = run.config
        raise DitbenchError(
            f"{run.device} ran out of memory: batch size {config.train.batch_size} in training, "
            f"{config.eval.batch_size} in sampling, {config.train.precision}",
            f"lower one: --batch-size {max(1, config.train.batch_size // 2)} or "
            f"--set eval.batch_size={max(1, config.eval.batch_size // 2)}",
            EXIT_FAILED,
        ) from error
