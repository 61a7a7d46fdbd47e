"""The speed of training on several GPUs of a machine, against one of them.

Each number of GPUs is measured in processes of its own, one per GPU; the other GPUs are idle.
"""

from __future__ import annotations

import gc
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ditbench.bench.measure import WARM_UP, title_of, training_facts
from ditbench.bench.synthetic import MAX_BYTES, Shape, plan_on, random_images
from ditbench.bench.timing import Length, time_in_turn
from ditbench.config import RunConfig
from ditbench.data.dataset import ImageDataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.models.dit import DiT
from ditbench.processes import Send, in_processes
from ditbench.runs.machine.environment import device_name, select_device
from ditbench.runs.machine.memory import PeakMemory
from ditbench.runs.machine.runtime_errors import training_errors
from ditbench.runs.planning.plan import Plan, build_model
from ditbench.training.trainer import Trainer
from ditbench.world import World, join

Facts = dict[str, Any]

# Steps per epoch on any number of GPUs: the host draws the order of each epoch.
EPOCH = 64


@dataclass(frozen=True)
class Job:
    """What one row measures: a model with the batch of one GPU, and how the batch grows."""

    config: RunConfig
    shape: Shape
    scaling: str  # `weak`: the batch per GPU is kept; `strong`: the global batch

    def on(self, number: int) -> RunConfig:
        """The settings for this number of GPUs, with the global batch size."""
        growth = number if self.scaling == "weak" else 1
        return self.config.with_values(train__batch_size=self.config.train.batch_size * growth)


@dataclass(frozen=True)
class Conditions:
    """What all rows share."""

    device: str  # `cuda`, each process with the GPU of its rank, or `cpu`
    threads: int  # of each process on a CPU
    length: Length  # how long a step is timed


class Apart(World):
    """The same processes, which do not exchange their gradients: each trains a model of its own."""

    def add(self, numbers: Tensor) -> Callable[[], None]:  # noqa: ARG002
        """Leave the numbers as they are."""
        return lambda: None


def bench(
    jobs: Sequence[Job], numbers: Sequence[int], conditions: Conditions, say: Callable[[str], None]
) -> Iterator[Facts | DitbenchError]:
    """Measure all jobs on each number of GPUs; yield the columns of docs/bench.md for each.

    Yields the error of a job that fails, because its batch does not fit into memory for example. A
    DitbenchError for a mistake in the settings.
    """
    for number in numbers:
        done = 0
        while done < len(jobs):  # a failure ends the processes
            for outcome in _outcomes(number, jobs[done:], conditions, say):
                done += 1
                yield outcome


def _outcomes(
    number: int, jobs: Sequence[Job], conditions: Conditions, say: Callable[[str], None]
) -> Iterator[Facts | DitbenchError]:
    """The facts of one job after the other, up to the error of one that fails."""
    try:
        for found in in_processes(number, work, tuple(jobs), conditions):
            if isinstance(found, str):
                say(found)
            else:
                yield found
    except DitbenchError as error:
        if error.exit_code != EXIT_FAILED:
            raise
        yield error


def work(send: Send, jobs: Sequence[Job], conditions: Conditions) -> None:
    """One of the processes: measure with the others. The first sends lines of text, and facts."""
    device = select_device(conditions.device)
    if device.type == "cpu":
        torch.set_num_threads(conditions.threads)
    world = join(device)
    send = send if world.first else lambda _message: None
    plans = _plans(jobs, world.size, device)
    pairs = zip(jobs, plans, strict=True)
    for _, group in groupby(pairs, lambda pair: replace(pair[0], scaling="")):
        model, facts = None, {}
        for job, plan in group:
            if model is None or not world.alone:  # on one GPU, the scalings are one measurement
                title = title_of(plan.config.block, plan, plan.backend.name)
                send(f"measuring {title}, {world.size} x {device_name(device)}")
                with training_errors(plan):
                    ops = plan.backend.ops(plan.config.train.precision)
                    model = model or build_model(plan, ops)  # ten seconds for XL/2
                    facts = _measure(plan, model, world, conditions.length)
            send({**facts, "scaling": job.scaling})


def _plans(jobs: Sequence[Job], number: int, device: torch.device) -> list[Plan]:
    """Plans on random images, `EPOCH` of the largest batches of a shape if memory allows."""
    pairs = [(job.shape, job.on(number)) for job in jobs]
    images: dict[Shape, ImageDataset] = {}
    for shape in {shape for shape, _ in pairs}:
        batch = max(config.train.batch_size for other, config in pairs if other == shape)
        most = 8 * MAX_BYTES // math.prod(shape[:3])
        images[shape] = random_images(*shape, least=max(batch, min(EPOCH * batch, most)))
    return [plan_on(images[shape], config, device) for shape, config in pairs]


def _measure(plan: Plan, model: DiT, world: World, length: Length) -> Facts:
    """The facts of a training step in a world, of copies of a model."""
    memory = PeakMemory(plan.device)
    memory.start()
    seconds, steps = _time_step(plan, model, world, length)
    memory.stop()
    typical = median(seconds)
    without = typical
    if not world.alone:
        same = Length(length.seconds, steps * len(seconds))
        apart = Apart(world.rank, world.size)
        without = median(_time_step(plan, model, apart, same)[0])
    return {
        **training_facts(plan, seconds, steps),
        "block": plan.config.block,
        "gpus": world.size,
        "backend": plan.backend.name,
        "parameters": plan.cost.parameters,
        "step_ms_without_all_reduce": 1e3 * without,
        "all_reduce_share": 1 - without / typical,
        "peak_memory_bytes": memory.bytes and int(world.most(memory.bytes)),
    }


def _time_step(plan: Plan, model: DiT, world: World, length: Length) -> tuple[list[float], int]:
    """Train a copy of a model: the seconds of a step in each part, in the slowest process; and the
    steps of a part.
    """
    gc.collect()  # a trainer and its graph refer to each other
    task = (plan.objective, plan.dataset, plan.device, plan.budget)
    update = Trainer(plan.config, deepcopy(model), *task, backend=plan.backend, world=world).update
    for _ in range(WARM_UP):
        update()
    timed = length.timed(update, plan.device, world)
    world.most(0.0)  # all begin together
    (seconds,) = time_in_turn([timed], plan.device)
    return [world.most(part) for part in seconds], timed.steps


def with_efficiency(rows: Sequence[Facts]) -> list[Facts]:
    """Add `efficiency`: images/s per GPU, divided by those of the fewest GPUs, `efficiency_to`.

    Rows are compared within one model, batch and scaling, and are brought into that order.
    """
    series: defaultdict[tuple[Any, ...], list[Facts]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["gpus"]):
        series[_series(row)].append(row)
    return [
        {**row, "efficiency": _per_gpu(row) / _per_gpu(group[0]), "efficiency_to": group[0]["gpus"]}
        for group in series.values()
        for row in group
    ]


def _series(row: Facts) -> tuple[Any, ...]:
    """What rows have in common that differ in the number of GPUs only."""
    batch = row["batch_size"] // (row["gpus"] if row["scaling"] == "weak" else 1)
    return (*(row[name] for name in ("model", "input", "block", "backend", "scaling")), batch)


def _per_gpu(row: Facts) -> float:
    return float(row["images_per_second"] / row["gpus"])
