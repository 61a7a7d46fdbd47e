"""`--gpus N`: this command again, in several processes that compute each run together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    from ditbench.cli.run_options import Training
    from ditbench.runs.plan import Plan


def in_processes(plans: Sequence[Plan], options: Training, workers: int = 1) -> list[Plan]:
    """The plans, for this process alone or as one of several that execute them together.

    With --gpus, the processes are started here, and this one exits when they have ended. A process
    that torchrun started joins the others. Only the first one prints on stdout. Several `workers`
    start the processes of their runs themselves.

    Raises:
        DitbenchError: the machine has too few GPUs, or a batch too few images; exit code 1, a
            process failed.
    """
    from ditbench.world import join, launched

    batch = min((plan.config.train.batch_size for plan in plans), default=options.gpus)
    if launched():
        world = join(plans[0].device if plans else None)
        _check_batch(batch, world.size)
        if not world.first:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        return [replace(plan, world=world) for plan in plans]
    if options.gpus == 1 or all(plan.directory.is_complete() for plan in plans):
        return list(plans)
    _check_gpus(options)
    _check_batch(batch, options.gpus)
    if workers > 1:
        return list(plans)

    from ditbench.launch.torchrun import run_processes

    raise typer.Exit(run_processes(options.gpus, sys.argv[1:]))


def _check_gpus(options: Training) -> None:
    import torch

    gpus = torch.cuda.device_count()
    if options.device == "cpu":  # processes that share the CPU: to try it
        return
    if options.device not in ("auto", "cuda"):
        raise DitbenchError(
            f"--gpus {options.gpus} and --device {options.device} are given together",
            "omit --device; CUDA_VISIBLE_DEVICES=2,3 chooses GPUs",
        )
    if options.gpus > gpus:
        raise DitbenchError(
            f"--gpus {options.gpus}: this machine has {gpus} GPU{'s' * (gpus != 1)}",
            "--gpus divides each batch over GPUs of this machine; torchrun starts a run on several "
            "machines",
        )


def _check_batch(images: int, processes: int) -> None:
    if images < processes:
        raise DitbenchError(
            f"a batch of {images} images cannot be divided over {processes} processes",
            f"pass --batch-size {processes} or more",
        )
