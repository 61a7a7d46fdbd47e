"""The speed of training and sampling of several models under the same conditions.

On a CPU the parts of all rows alternate, together with those of a large matrix product: if the
speed of the machine changes, it changes for all rows alike, and ratios stay valid. On a GPU, whose
speed is steadier and whose memory may hold only one model, rows are measured one after the other.
Peak memory is then that of one model alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any, TypeVar

import torch

from ditbench.bench.adapters import Adapter, Candidate
from ditbench.bench.matmul_peak import matmul
from ditbench.bench.timing import Length, Timed, time_in_turn
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.runs.machine.environment import device_name
from ditbench.runs.machine.memory import PeakMemory
from ditbench.runs.machine.runtime_errors import training_errors
from ditbench.runs.planning.plan import Plan
from ditbench.runs.scoring.labels import balanced_labels
from ditbench.runs.scoring.sampling import time_sampling
from ditbench.training.device import graph

Facts = dict[str, Any]
Say = Callable[[str], None]

T = TypeVar("T")

# Steps before timing starts, so that compiling and capturing a graph are not timed.
WARM_UP = graph.WARM_UP + 2
# Seconds of timing the matrix product.
MATMUL_SECONDS = 0.5
# If the matrix product falls below this share of its first speed, the GPU was slowed down.
STEADY = 0.9
# The most timings of sampling, and the sampling steps of its warm-up.
SAMPLINGS = 3
SAMPLING_WARM_UP = 2


@dataclass(frozen=True)
class Row:
    """What one row of the table measures: the name of a block or peer, a plan, and the adapter."""

    name: str
    plan: Plan
    adapter: Adapter

    @property
    def title(self) -> str:
        """The row in a line of text."""
        return title_of(self.name, self.plan, self.adapter.backend(self.plan))


@dataclass(frozen=True)
class _Warm:
    """A row after its warm-up, which took `seconds`."""

    row: Row
    candidate: Candidate
    timed: Timed
    seconds: float


def title_of(name: str, plan: Plan, backend: str) -> str:
    """A block or peer, its size and its backend in a line of text."""
    size = f"{plan.cost.model} on {plan.cost.input}, batch {plan.config.train.batch_size}"
    return f"{name} {size}, {backend}"


def bench(rows: list[Row], length: Length, say: Say) -> Iterator[Facts | DitbenchError]:
    """Measure rows on one device, in one precision; yield the columns of docs/bench.md for each.

    Yields the error of a row that fails: its memory does not suffice, torch cannot compile, or the
    model diverges. Writes no files. `say` receives a line of text before each measurement.
    """
    measure = _one_by_one if rows[0].plan.device.type == "cuda" else _in_turn
    return measure(rows, length, say)


def _one_by_one(rows: list[Row], length: Length, say: Say) -> Iterator[Facts | DitbenchError]:
    matmul_speed = _matmul_alone(rows[0].plan)
    for row in rows:
        say(f"measuring {row.title}")
        if "torch._dynamo" in sys.modules:  # memory of the previous row is not counted again
            torch.compiler.reset()
        yield _attempt(row, partial(_measure_alone, row, length, matmul_speed))
    after = _matmul_alone(rows[0].plan)
    if after < STEADY * matmul_speed:
        say(
            "the GPU became slower while the rows were measured (matrix product: "
            f"{after / 1e12:.0f} TFLOP/s, {matmul_speed / 1e12:.0f} before): it is hot or shared, "
            "so repeat the measurement"
        )


def _attempt(row: Row, measure: Callable[[], T]) -> T | DitbenchError:
    """What a function returns, or why it failed."""
    try:
        with training_errors(row.plan):
            return measure()
    except DitbenchError as error:
        if error.exit_code != EXIT_FAILED:
            raise
        # A new one, because the traceback of the other refers to the model.
        return DitbenchError(f"{row.title}: {error.message}", error.hint, EXIT_FAILED)


def _matmul_alone(plan: Plan) -> float:
    """FLOP/s of the matrix product."""
    with training_errors(plan):
        step, flops = matmul(plan.device, plan.config.train.precision)
        for _ in range(WARM_UP):
            step()
        timed = Length(MATMUL_SECONDS).timed(step, plan.device)
        (seconds,) = time_in_turn([timed], plan.device)
    return flops / median(seconds)


def _measure_alone(row: Row, length: Length, matmul_speed: float) -> Facts:
    memory = PeakMemory(row.plan.device)
    memory.start()
    warm = _warm_up(row, length)
    (seconds,) = time_in_turn([warm.timed], row.plan.device)
    memory.stop()
    facts = _training(warm, seconds, matmul_speed, memory.bytes)
    return facts | _sampling(warm, length) if length.sampling else facts


def _in_turn(rows: list[Row], length: Length, say: Say) -> Iterator[Facts | DitbenchError]:
    device = rows[0].plan.device
    step, flops = matmul(device, rows[0].plan.config.train.precision)
    step()
    memory = PeakMemory(device)
    memory.start()
    warm = []
    for row in rows:
        say(f"warming up {row.title}")
        one = _attempt(row, partial(_warm_up, row, length))
        if isinstance(one, DitbenchError):
            yield one
        else:
            warm.append(one)
    if not warm:
        return
    say("timing training, in turn")
    most = max(one.timed.parts for one in warm)
    with training_errors(rows[0].plan):
        timed = [Timed.of(step, most), *(one.timed for one in warm)]
        products, *trainings = time_in_turn(timed, device)
    memory.stop()
    # With several models in one process, none of them has a peak of its own.
    peak = memory.bytes if len(rows) == 1 else None
    for one, seconds in zip(warm, trainings, strict=True):
        facts = _training(one, seconds, flops / median(products), peak)
        if length.sampling:
            say(f"timing sampling of {one.row.title}")
            with training_errors(one.row.plan):
                facts |= _sampling(one, length)
        yield facts


def _warm_up(row: Row, length: Length) -> _Warm:
    """Build a model and train it until compiling and capturing a graph are over."""
    candidate = row.adapter.build(row.plan)
    started = time.perf_counter()
    for _ in range(WARM_UP):
        candidate.update()
    timed = length.timed(candidate.update, row.plan.device)
    return _Warm(row, candidate, timed, time.perf_counter() - started)


def _sampling(warm: _Warm, length: Length) -> Facts:
    """The speed of sampling one batch with all steps of the sampler, the median of a few."""
    plan, config = warm.row.plan, warm.row.plan.config.eval
    labels = balanced_labels(config.batch_size, plan.dataset.num_classes)
    model: Any = warm.candidate.average  # a DiT, or a model with the same arguments
    sample = partial(time_sampling, model, plan, labels)
    warm_up = sample(min(SAMPLING_WARM_UP, config.sampling_steps))
    seconds: list[float] = []
    while len(seconds) < SAMPLINGS and sum(seconds) < length.seconds:
        seconds.append(sample(config.sampling_steps))
    return {
        "sampling_images_per_second": config.batch_size / median(seconds),
        "sampling_steps": config.sampling_steps,
        "sampling_batch_size": config.batch_size,
        "sampler": config.sampler,
        "cfg_scale": config.cfg_scale,
        "warm_up_seconds": warm.seconds + warm_up,
    }


def _training(warm: _Warm, seconds: list[float], matmul: float, peak: int | None) -> Facts:
    """Conditions and speed of training. FLOPs are those of ditbench's model, also for a peer."""
    row, facts = warm.row, training_facts(warm.row.plan, seconds, warm.timed.steps)
    return {
        **facts,
        "block": row.name,
        "implementation": row.adapter.implementation,
        "backend": row.adapter.backend(row.plan),
        "parameters": warm.candidate.parameters,
        "matmul_tflops_per_second": matmul / 1e12,
        "share_of_matmul": facts["train_tflops_per_second"] * 1e12 / matmul,
        "peak_memory_bytes": peak,
        "warm_up_seconds": warm.seconds,
    }


def training_facts(plan: Plan, seconds: list[float], steps: int) -> Facts:
    """Conditions and speed of training, from the seconds per step in parts of `steps` steps."""
    tenths = quantiles(seconds, n=10, method="inclusive")
    typical, flops = median(seconds), plan.train_flops(1)
    return {
        "model": plan.cost.model,
        "input": plan.cost.input,
        "batch_size": plan.config.train.batch_size,
        "objective": plan.config.objective.name,
        "precision": plan.config.train.precision,
        "device": device_name(plan.device),
        "threads": torch.get_num_threads() if plan.device.type == "cpu" else None,
        "torch": torch.__version__,
        "train_flops_per_step": flops,
        "step_ms_median": 1e3 * typical,
        "step_ms_p10": 1e3 * tenths[0],
        "step_ms_p90": 1e3 * tenths[-1],
        "parts": len(seconds),
        "steps_per_part": steps,
        "images_per_second": plan.config.train.batch_size / typical,
        "train_tflops_per_second": flops / typical / 1e12,
    }


def with_ratios(rows: list[Facts], reference: str, backend: str) -> list[Facts]:
    """Add `step_ratio`, the time of a step divided by that of the row `reference` of a backend.

    That row has the same model, input and batch size. The ratio is None if it was not measured.
    """

    def size(row: Facts) -> tuple[str, str, int]:
        return row["model"], row["input"], row["batch_size"]

    base = {
        size(row): row["step_ms_median"]
        for row in rows
        if (row["block"], row["backend"]) == (reference, backend)
    }
    return [
        {
            **row,
            "step_ratio": row["step_ms_median"] / base[size(row)] if size(row) in base else None,
            "step_ratio_to": reference,
        }
        for row in rows
    ]
