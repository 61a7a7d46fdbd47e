"""Errors that a machine or an external block can cause in a computation, as DitbenchErrors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ditbench.errors import EXIT_FAILED, DitbenchError, is_out_of_memory
from ditbench.plugins.lookup import block_errors
from ditbench.runs.planning.plan import Plan
from ditbench.runs.planning.task import Task
from ditbench.training.device.backend import cannot_run
from ditbench.training.device.compile import reason_of

_COMPILER = ("torch._dynamo", "torch._inductor")


def training_errors(run: Plan) -> AbstractContextManager[None]:
    """Raise a DitbenchError for too little memory, a failed compilation or an external block."""
    return _errors(run.config.block, lambda: _out_of_memory(run))


def sampling_errors(task: Task, hint: str) -> AbstractContextManager[None]:
    """As `training_errors`, of a model that is only sampled; the hint says what needs less."""
    config = task.config
    what = f"{task.device} ran out of memory: batch size {config.eval.batch_size} in sampling, "
    error = DitbenchError(what + config.train.precision, hint, EXIT_FAILED)
    return _errors(config.block, lambda: error)


@contextmanager
def _errors(block: str, out_of_memory: Callable[[], DitbenchError]) -> Iterator[None]:
    with block_errors(block, EXIT_FAILED):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise out_of_memory() from error
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
