"""What env.json says of a run: the device, the versions, and how many seeds were planned."""

from __future__ import annotations

import math
from typing import Any

from ditbench.amounts import counted
from ditbench.errors import DitbenchError, one_line
from ditbench.files import read_json
from ditbench.report.reading.values import Row
from ditbench.rundir import PLANNED_SEEDS, SHARED_CPU, WORLD_SIZE, WORLD_SIZE_CHANGED, RunDirectory

# Characters.
_MAX_NAME, _MAX_DEVICE = 40, 80


def of_environment(run: RunDirectory, device: str, flat: Row) -> Row:
    """What computed the steps, and how many seeds were planned: empty and NaN if not recorded.

    Earlier runs record less, and no number depends on an env.json that cannot be read.
    """
    try:
        facts = read_json(run.environment)
    except DitbenchError:
        facts = {}
    planned, packages = facts.get(PLANNED_SEEDS), facts.get("packages")
    workers = facts.get(SHARED_CPU)
    return {
        SHARED_CPU: workers if type(workers) is int and 0 < workers < 2**31 else 1,
        "device": _devices(facts, device),
        "backend": _backend(_text(facts.get("backend")), flat),
        "ditbench_version": _text(facts.get("ditbench")),
        "torch_version": _text(packages.get("torch")) if isinstance(packages, dict) else "",
        PLANNED_SEEDS: float(planned) if type(planned) is int and 0 < planned < 2**31 else math.nan,
    }


def _backend(name: str, flat: Row) -> str:
    """`kernels, batches in parts of 64, blocks recomputed`; empty if the backend is not known."""
    part, recomputes = flat.get("train.micro_batch"), flat.get("train.checkpoint_blocks") is True
    parts = f", batches in parts of {part}" if type(part) is int else ""
    return name and name + parts + ", blocks recomputed" * recomputes


def _devices(facts: Row, device: str) -> str:
    """`2 x NVIDIA H200`: several GPUs are another device, and so is a change of their number."""
    name = _processor(facts) if device == "cpu" else one_line(device, _MAX_DEVICE)
    number, changed = facts.get(WORLD_SIZE), facts.get(WORLD_SIZE_CHANGED)
    several = f"{number} x " if type(number) is int and number > 1 else ""
    return several + name + (f" from step {changed}" if type(changed) is int else "")


def _processor(facts: Row) -> str:
    """`AMD EPYC, 2 threads`: a CPU is another device with another number of threads."""
    name, threads = _text(facts.get("processor"), _MAX_DEVICE) or "cpu", facts.get("threads")
    if type(threads) is not int:
        return name
    return f"{name}, {counted(threads, 'thread')}"


def _text(value: Any, most: int = _MAX_NAME) -> str:
    return one_line(value, most) if isinstance(value, str) else ""
