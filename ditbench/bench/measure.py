"""The speed of training and sampling of several models under the same conditions.

On a CPU the parts of all rows alternate, together with those of a large matrix product: if the
speed of the machine changes, it changes for all rows alike, and ratios stay valid. On a GPU, whose
speed is steadier and whose memory may hold only one model, rows are measured one after the other.
Peak memory is then that of one model alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import torch

from ditbench.bench.matmul_peak import Matmul
from ditbench.bench.timing import Length, Spread, Timed, time_in_turn
from ditbench.runs.environment import device_name
from ditbench.runs.evaluate import balanced_labels, sample_images
from ditbench.runs.memory import PeakMemory
from ditbench.runs.runtime_errors import training_errors
from ditbench.training import graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ditbench.bench.adapters import Adapter, Candidate
    from ditbench.models.dit import DiT
    from ditbench.runs.plan import Plan

# Steps before the clock starts, so that compiling and capturing a graph are not timed.
WARM_UP = graph.WARM_UP + 2
# Seconds of timing the matrix product.
MATMUL_SECONDS = 0.5
# Sampling is timed at most this many times, after a warm-up of so many sampling steps.
SAMPLINGS = 3
SAMPLING_WARM_UP = 2


@dataclass(frozen=True)
class Row:
    """What one row of the table measures.

    Attributes:
        name: of the block, or of the peer.
        plan: what is trained.
        adapter: builds the model.
    """

    name: str
    plan: Plan
    adapter: Adapter


@dataclass(frozen=True)
class _Warm:
    """A row after its warm-up, which took so many seconds."""

    row: Row
    candidate: Candidate
    timed: Timed
    seconds: float


def bench(rows: list[Row], length: Length, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure rows. Nothing is written.

    Args:
        rows: on one device, in one precision.
        length: how long each row is timed.
        say: receives a line of text before each measurement.

    Yields:
        For each row its conditions, `train_flops_per_step` (what the function of the model needs,
        even if a peer computes more), `step_ms_median`, `step_ms_p10` and `step_ms_p90` over
        `parts`, `images_per_second`, `train_tflops_per_second`, `matmul_tflops_per_second`,
        `share_of_matmul` (0 to 1), `peak_memory_bytes` (None if rows share the memory of a
        process), `sampling_images_per_second`, `warm_up_seconds`.

    Raises:
        DitbenchError: exit code 1, if memory does not suffice, torch cannot compile, or the model
            diverges.
    """
    one_by_one = rows[0].plan.device.type == "cuda"
    return _one_by_one(rows, length, say) if one_by_one else _in_turn(rows, length, say)


def _one_by_one(
    rows: list[Row], length: Length, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    matmul = _matmul_alone(rows[0].plan)
    for row in rows:
        say(f"measuring {row.name} on {row.plan.device}")
        _free_compiled()
        yield _measure_alone(row, length, matmul)


def _matmul_alone(plan: Plan) -> float:
    """FLOP/s of the matrix product."""
    with training_errors(plan):
        matmul = Matmul(plan.device, plan.config.train.precision)
        for _ in range(WARM_UP):
            matmul.step()
        timed = Length(MATMUL_SECONDS).timed(matmul.step, plan.device)
        (seconds,) = time_in_turn([timed], plan.device)
    return matmul.flops / median(seconds)


def _free_compiled() -> None:
    """Free what was compiled for the previous row, so that its memory is not counted again."""
    if "torch._dynamo" in sys.modules:  # otherwise nothing was compiled
        torch.compiler.reset()


def _measure_alone(row: Row, length: Length, matmul: float) -> dict[str, Any]:
    with training_errors(row.plan):
        memory = PeakMemory(row.plan.device)
        memory.start()
        warm = _warm_up(row, length)
        (seconds,) = time_in_turn([warm.timed], row.plan.device)
        memory.stop()
        return _training(warm, seconds, matmul, memory.bytes) | _sampling(warm, length)


def _in_turn(
    rows: list[Row], length: Length, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    device = rows[0].plan.device
    matmul = Matmul(device, rows[0].plan.config.train.precision)
    matmul.step()
    memory = PeakMemory(device)
    memory.start()
    warm = []
    for row in rows:
        say(f"warming up {row.name} on {device}")
        with training_errors(row.plan):
            warm.append(_warm_up(row, length))
    say("timing training, in turn")
    most = max(one.timed.parts for one in warm)
    timed = [Timed.of(matmul.step, most), *(one.timed for one in warm)]
    with training_errors(rows[0].plan):
        products, *trainings = time_in_turn(timed, device)
    memory.stop()
    # With several models in one process, none of them has a peak of its own.
    peak = memory.bytes if len(rows) == 1 else None
    for one, seconds in zip(warm, trainings, strict=True):
        say(f"timing sampling of {one.row.name}")
        with training_errors(one.row.plan):
            sampling = _sampling(one, length)
        yield _training(one, seconds, matmul.flops / median(products), peak) | sampling


def _warm_up(row: Row, length: Length) -> _Warm:
    """Build a model and train it until compiling and capturing a graph are over."""
    candidate = row.adapter.build(row.plan)
    started = time.perf_counter()
    for _ in range(WARM_UP):
        candidate.update()
    timed = length.timed(candidate.update, row.plan.device)
    return _Warm(row, candidate, timed, time.perf_counter() - started)


def _sampling(warm: _Warm, length: Length) -> dict[str, Any]:
    """The speed of sampling one batch with all steps of the sampler, the median of a few."""
    config = warm.row.plan.config.eval
    warm_up = _time_sampling(warm, SAMPLING_WARM_UP)
    seconds: list[float] = []
    while len(seconds) < SAMPLINGS and sum(seconds) < length.seconds:
        seconds.append(_time_sampling(warm, config.sampling_steps))
    return {
        "sampling_images_per_second": config.batch_size / median(seconds),
        "sampling_steps": config.sampling_steps,
        "sampling_batch_size": config.batch_size,
        "sampler": config.sampler,
        "cfg_scale": config.cfg_scale,
        "warm_up_seconds": warm.seconds + warm_up,
    }


def _time_sampling(warm: _Warm, most_steps: int) -> float:
    """Seconds of drawing one batch. Samples are moved to the CPU, which synchronizes."""
    plan = warm.row.plan
    started = time.perf_counter()
    steps = min(most_steps, plan.config.eval.sampling_steps)
    config = plan.config.with_values(eval__sampling_steps=steps)
    labels = balanced_labels(config.eval.batch_size, plan.dataset.num_classes)
    # A DiT, or a model with the same arguments.
    model = cast("DiT", warm.candidate.average)
    sample_images(model, config, plan.objective, plan.dataset, labels)
    return time.perf_counter() - started


def _training(warm: _Warm, seconds: list[float], matmul: float, peak: int | None) -> dict[str, Any]:
    """Conditions and speed of training, from the seconds per step in each part."""
    plan = warm.row.plan
    on_cpu = plan.device.type == "cpu"
    step = Spread.of(seconds)
    flops = plan.train_flops(1)
    return {
        "block": warm.row.name,
        "implementation": warm.row.adapter.implementation,
        "model": plan.cost.model,
        "input": plan.cost.input,
        "batch_size": plan.config.train.batch_size,
        "objective": plan.config.objective.name,
        "precision": plan.config.train.precision,
        "device": device_name(plan.device),
        "threads": torch.get_num_threads() if on_cpu else None,
        "torch": torch.__version__,
        "backend": warm.candidate.backend,
        "parameters": warm.candidate.parameters,
        "train_flops_per_step": flops,
        "step_ms_median": 1e3 * step.median,
        "step_ms_p10": 1e3 * step.p10,
        "step_ms_p90": 1e3 * step.p90,
        "parts": warm.timed.parts,
        "steps_per_part": warm.timed.steps,
        "images_per_second": plan.config.train.batch_size / step.median,
        "train_tflops_per_second": flops / step.median / 1e12,
        "matmul_tflops_per_second": matmul / 1e12,
        "share_of_matmul": flops / step.median / matmul,
        "peak_memory_bytes": peak,
    }


def with_ratios(rows: Iterable[Mapping[str, Any]], reference: str) -> list[dict[str, Any]]:
    """Add `step_ratio`, the time per step divided by that of the row `reference`, or None."""
    tables = [dict(row) for row in rows]
    times = {row["block"]: row["step_ms_median"] for row in tables}
    base = times.get(reference)
    for row in tables:
        row["step_ratio"] = None if base is None else row["step_ms_median"] / base
        row["step_ratio_to"] = reference
    return tables
