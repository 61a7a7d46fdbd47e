"""Whether a run's training is compiled: as somebody asks, as it was begun, or where that pays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.errors import EXIT_FAILED, DitbenchError, unknown_name
from ditbench.files import read_json
from ditbench.runs.environment import device_name
from ditbench.training.compiled import obstacle_to_compiling

if TYPE_CHECKING:
    import torch

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.rundir import RunDirectory
    from ditbench.training.budget import Budget

CHOICES = ("auto", "on", "off")

# On a CPU, `auto` compiles what is expected to train for so many times as long as compiling takes.
TIMES = 8
# What that takes for each of a model's blocks, and how fast small models train: two cores. They are
# constants, so that a run is compiled, or not, on every machine alike.
COMPILE_SECONDS = 6.0
FLOPS_PER_SECOND = 70e9
# How the system's loader complains of a library that is not whole.
_DAMAGED = re.compile(r"(/.+\.so): (file too short|invalid ELF header|.*file data)")


@dataclass(frozen=True)
class Compiling:
    """Whether training is compiled.

    Attributes:
        on: whether it is.
        obstacle: why torch cannot compile here, where it would have; None otherwise.
    """

    on: bool = False
    obstacle: str | None = None

    def describe(self) -> dict[str, Any]:
        """What env.json says of it."""
        return {"compiled": self.on, "cannot_compile": self.obstacle}


NOT_COMPILED = Compiling()


def check_choice(choice: str) -> str:
    """The choice, if it is one of `CHOICES`; otherwise a DitbenchError."""
    if choice not in CHOICES:
        raise unknown_name("choice for --compile", choice, CHOICES)
    return choice


def as_asked(choice: str, device: torch.device) -> Compiling:
    """Compiled by `on` alone, as is right for what takes seconds.

    Raises:
        DitbenchError: an unknown choice; exit code 1, `on` where torch cannot compile.
    """
    if check_choice(choice) != "on":
        return NOT_COMPILED
    obstacle = obstacle_to_compiling(device)
    if obstacle is not None:
        raise cannot_compile(obstacle)
    return Compiling(on=True)


def decide(
    choice: str,
    config: RunConfig,
    dataset: ImageDataset,
    budget: Budget,
    device: torch.device,
    directory: RunDirectory,
) -> Compiling:
    """Whether a run is compiled; `auto` follows from its configuration and the kind of device.

    A run that goes on from a checkpoint is compiled if it was begun so. Nothing that was measured
    has a say: the same command always decides alike.

    Raises:
        DitbenchError: see `as_asked`.
    """
    if check_choice(choice) != "auto":
        # What is complete needs no compiler.
        return NOT_COMPILED if directory.is_complete() else as_asked(choice, device)
    begun = begun_compiled(directory, device)
    wanted = pays(config, dataset, budget, device) if begun is None else begun
    if not wanted or directory.is_complete():
        return NOT_COMPILED
    obstacle = obstacle_to_compiling(device)
    return Compiling(obstacle is None, obstacle)


def pays(config: RunConfig, dataset: ImageDataset, budget: Budget, device: torch.device) -> bool:
    """Whether training outlasts compiling by far: never on a GPU, which has kernels of our own."""
    if device.type != "cpu":
        return False
    compiling = COMPILE_SECONDS * config.model.depth
    steps = budget.steps
    seconds = budget.amount if steps is None else _flops(config, dataset, steps) / FLOPS_PER_SECOND
    return seconds >= TIMES * compiling


def _flops(config: RunConfig, dataset: ImageDataset, steps: int) -> float:
    """About the training FLOPs, the same for all strategies: one alone is never compiled.

    To a token a transformer block of width D does 4 D^2 multiply-accumulates in attention and
    2 D^2 times the MLP's ratio there, however it is conditioned.
    """
    if config.budget.flops is not None:
        return config.budget.flops
    model = config.model
    tokens = dataset.height * dataset.width // model.patch_size**2 + model.registers
    macs = tokens * model.depth * (4 + 2 * model.mlp_ratio) * model.hidden_size**2
    return 3 * 2 * macs * config.train.batch_size * steps


def begun_compiled(directory: RunDirectory, device: torch.device) -> bool | None:
    """Whether a run that would go on was compiled; None where none would, or on another device."""
    if not directory.checkpoints or not directory.environment.is_file():
        return None
    try:
        facts = read_json(directory.environment)
    except DitbenchError:  # a damaged note never kept a run from going on
        return None
    if facts.get("device") != device_name(device):
        return None
    return facts.get("compiled") is True  # runs of an earlier version were not


def cannot_compile(reason: str) -> DitbenchError:
    """The error of what has to be compiled where torch cannot."""
    if damaged := _DAMAGED.search(reason):
        file = Path(damaged[1])
        return DitbenchError(
            f"torch cannot load what it compiled earlier: {damaged[0]}",
            f"a compilation that was killed leaves such files: delete it, or all of torch's cache "
            f"({file.parent.parent}); --compile off does without",
            EXIT_FAILED,
        )
    return DitbenchError(
        f"torch cannot compile on this machine: {reason}",
        "it needs a C++ compiler on a CPU and Triton on CUDA; --compile off does without",
        EXIT_FAILED,
    )
