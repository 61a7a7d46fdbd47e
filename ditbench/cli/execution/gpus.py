"""`--gpus N` and torchrun: several processes compute each run together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ditbench.amounts import counted
from ditbench.cli.options.training import Training
from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from ditbench.runs.planning.plan import Plan


def divided(plans: Sequence[Plan], options: Training) -> list[Plan]:
    """The plans, for this process or as one of several that torchrun started.

    Those join each other, and only the first one prints on stdout. For --gpus, it is checked
    whether the runs can be divided: workers start the processes.
    """
    from ditbench.world import join, launched

    batch = min(plan.config.train.batch_size for plan in plans)
    if launched():
        world = join(plans[0].device)
        _check_batch(batch, world.size)
        if not world.first:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        return [replace(plan, world=world) for plan in plans]
    if options.gpus > 1 and not all(plan.directory.is_complete() for plan in plans):
        check_gpus(options.gpus, options.device)
        _check_batch(batch, options.gpus)
    return list(plans)


def check_gpus(asked: int, device: str) -> None:
    """Raise a DitbenchError if this machine has fewer GPUs than --gpus asks for."""
    if device == "cpu":  # processes that share the CPU: to try it
        return
    if device not in ("auto", "cuda"):
        what = f"--gpus {asked} and --device {device} are given together"
        raise DitbenchError(what, "omit --device; CUDA_VISIBLE_DEVICES=2,3 chooses GPUs")
    import torch

    if asked > (gpus := torch.cuda.device_count()):
        raise DitbenchError(
            f"--gpus {asked}: this machine has {counted(gpus, 'GPU')}",
            "pass fewer, or --device cpu to try it; torchrun starts a run on several machines",
        )


def _check_batch(images: int, processes: int) -> None:
    if images < processes:
        what = f"a batch of {images} images cannot be divided over {processes} processes"
        raise DitbenchError(what, f"pass --batch-size {processes} or more")
