"""Errors that a machine or an external block can cause in training, as DitbenchErrors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.plugins.lookup import block_errors
from ditbench.runs.planning.plan import Plan
from ditbench.training.device.backend import cannot_run
from ditbench.training.device.compile import reason_of

_COMPILER = ("torch._dynamo", "torch._inductor")


@contextmanager
def training_errors(run: Plan) -> Iterator[None]:
    """Raise a DitbenchError for too little memory, a failed compilation or an external block."""
    with block_errors(run.config.block, EXIT_FAILED):
        try:
            yield
        except RuntimeError as error:
            # The CPU allocator has no class for it.
            memory = isinstance(error, torch.OutOfMemoryError)
            if memory or "can't allocate memory" in str(error):
                raise _out_of_memory(run) from error
            if type(error).__module__.startswith(_COMPILER):
                raise cannot_run("compile", reason_of(error)) from error
            raise


def _out_of_memory(run: Plan) -> DitbenchError:
    train, sampling = run.config.train, run.config.eval.batch_size
    part = -(-train.batch_size // run.world.size)
    at_once = min(part, train.micro_batch or part)
    parts = f", {at_once} at a time" if at_once < train.batch_size else ""
    same = [f"--set train.micro_batch={at_once // 2}"] if at_once > 1 else []
    same += [] if train.checkpoint_blocks else ["--set train.checkpoint_blocks=true"]
    unchanged = f"keep the result: {' or '.join(same)}; or " if same else ""
    return DitbenchError(
        f"{run.device} ran out of memory: batch size {train.batch_size}{parts} in training, "
        f"{sampling} in sampling, {train.precision}",
        f"{unchanged}lower one: --batch-size {max(1, train.batch_size // 2)} or "
        f"--set eval.batch_size={max(1, sampling // 2)}",
        EXIT_FAILED,
    )
