"""What a machine lacks, in one line: memory that suffices, a compiler."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.training.run import naming_what_is_too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.training.plan import Plan

_COMPILER = ("torch._dynamo", "torch._inductor")


@contextmanager
def naming_what_failed(plan: Plan) -> Iterator[None]:
    """Turn a lack of memory, on whatever device, and a failed compilation into a DitbenchError."""
    with naming_what_is_too_large(plan):
        try:
            yield
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # the CPU's allocator has no class for it
                raise torch.OutOfMemoryError(str(error)) from error
            if type(error).__module__.startswith(_COMPILER):
                raise _cannot_compile(error) from error
            raise


def _cannot_compile(error: RuntimeError) -> DitbenchError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return DitbenchError(
        f"torch cannot compile on this machine: {reason}",
        "it needs a C++ compiler on a CPU and Triton on CUDA; leave out what is compiled",
        EXIT_FAILED,
    )
