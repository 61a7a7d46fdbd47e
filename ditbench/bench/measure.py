"""How fast a model trains and samples, beside others under the same conditions.

On a CPU the parts of all rows alternate, together with those of the matrix product that is the
ceiling: a machine whose speed wanders then slows all of them alike, and the ratios stand. On a GPU,
which is steadier and whose memory may hold one model only, rows come one after the other; the peak
memory is then that of one model alone, and the spread says how steady it was.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import torch

from ditbench.bench.matmul_peak import Matmul
from ditbench.bench.timing import LEAST_PARTS, Spread, Timed, seconds_of, time_in_turn
from ditbench.runs import environment
from ditbench.runs.evaluate import balanced_labels, sample_images
from ditbench.runs.runtime_errors import naming_what_failed
from ditbench.training import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ditbench.bench.candidate import Contender, Maker
    from ditbench.models.dit import DiT
    from ditbench.runs.plan import Plan

# Steps before the clock starts: what comes once, compiling or recording, is over then.
WARM_UP = recorded.WARM_UP + 2
# Steps of which the fastest estimates how many are to be timed: others may have met a hiccup.
ESTIMATES = 3
# Seconds of timing the matrix product alone.
CEILING_SECONDS = 0.5
# How often sampling is timed at most, and the sampling steps of its warm-up.
SAMPLINGS = 3
SAMPLING_WARM_UP = 2


@dataclass(frozen=True)
class Row:
    """What becomes one row.

    Attributes:
        name: of the block, or of the peer.
        plan: what is trained.
        maker: whose model.
    """

    name: str
    plan: Plan
    maker: Maker


@dataclass(frozen=True)
class Length:
    """How long each row is timed.

    Attributes:
        seconds: of training, and the most after which sampling is not timed once more.
        steps: of training, instead of seconds; at least `LEAST_PARTS`.
    """

    seconds: float
    steps: int | None = None

    def timed(self, step: Callable[[], object], device: torch.device) -> Timed:
        """So many steps; where seconds are given, as many as are estimated to fill them."""
        if self.steps is not None:
            return Timed.of(step, self.steps)
        estimate = min(seconds_of(step, device) for _ in range(ESTIMATES))
        return Timed.of(step, max(LEAST_PARTS, round(self.seconds / estimate)))


@dataclass(frozen=True)
class _Warm:
    """A row that is ready to be timed, after so many seconds of training."""

    row: Row
    contender: Contender
    timed: Timed
    seconds: float


def bench(rows: list[Row], length: Length, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure rows; nothing is written.

    Args:
        rows: on one device, in one precision.
        length: how long each is timed.
        say: told in words what is measured, before it is.

    Yields:
        For each row plain values: its conditions, `train_flops_per_step` (of what the model's
        function needs, also where a peer computes more), `step_ms_median`, `step_ms_p10` and
        `step_ms_p90` over `parts`, `images_per_second`, `train_tflops_per_second`,
        `matmul_tflops_per_second`, `share_of_matmul` (0..1), `peak_memory_bytes` (None where rows
        share a process's memory), `sampling_images_per_second`, `warm_up_seconds`.

    Raises:
        DitbenchError: exit code 1, when memory does not suffice, torch cannot compile, or the
            model diverges.
    """
    one_by_one = rows[0].plan.device.type == "cuda"
    return _one_by_one(rows, length, say) if one_by_one else _in_turn(rows, length, say)


def _one_by_one(
    rows: list[Row], length: Length, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    ceiling = _ceiling_alone(rows[0].plan)
    for row in rows:
        say(f"measuring {row.name} on {row.plan.device}")
        _forget_the_last()
        yield _measure_alone(row, length, ceiling)


def _ceiling_alone(plan: Plan) -> float:
    """FLOP/s of the matrix product."""
    with naming_what_failed(plan):
        matmul = Matmul(plan.device, plan.config.train.precision)
        for _ in range(WARM_UP):
            matmul.step()
        timed = Length(CEILING_SECONDS).timed(matmul.step, plan.device)
        (seconds,) = time_in_turn([timed], plan.device)
    return matmul.flops / median(seconds)


def _forget_the_last() -> None:
    """Let go of what the row before compiled, so that its memory is free when peaks are reset."""
    if "torch._dynamo" in sys.modules:  # else torch has compiled nothing, and need not import it
        torch.compiler.reset()


def _measure_alone(row: Row, length: Length, ceiling: float) -> dict[str, Any]:
    device = row.plan.device
    with naming_what_failed(row.plan):
        environment.reset_peak_memory(device)
        warm = _warm_up(row, length)
        (seconds,) = time_in_turn([warm.timed], device)
        peak = environment.peak_memory_bytes(device)
        return _told(warm, seconds, ceiling, peak) | _sampling(warm, length)


def _in_turn(
    rows: list[Row], length: Length, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    device = rows[0].plan.device
    matmul = Matmul(device, rows[0].plan.config.train.precision)
    matmul.step()
    environment.reset_peak_memory(device)
    warm = []
    for row in rows:
        say(f"warming up {row.name} on {device}")
        with naming_what_failed(row.plan):
            warm.append(_warm_up(row, length))
    say("timing training, in turn")
    most = max(one.timed.parts for one in warm)
    timed = [Timed.of(matmul.step, most), *(one.timed for one in warm)]
    with naming_what_failed(rows[0].plan):
        products, *trainings = time_in_turn(timed, device)
    # Of several models in one process, no memory is that of one alone.
    peak = environment.peak_memory_bytes(device) if len(rows) == 1 else None
    for one, seconds in zip(warm, trainings, strict=True):
        say(f"timing sampling of {one.row.name}")
        with naming_what_failed(one.row.plan):
            sampling = _sampling(one, length)
        yield _told(one, seconds, matmul.flops / median(products), peak) | sampling


def _warm_up(row: Row, length: Length) -> _Warm:
    """Build a model, and train it until all that comes once is over."""
    contender = row.maker.build(row.plan)
    started = time.perf_counter()
    for _ in range(WARM_UP):
        contender.update()
    timed = length.timed(contender.update, row.plan.device)
    return _Warm(row, contender, timed, time.perf_counter() - started)


def _sampling(warm: _Warm, length: Length) -> dict[str, Any]:
    """The speed of one batch through all steps of the sampler, the median of a few."""
    config = warm.row.plan.config.eval
    started = time.perf_counter()
    _sample(warm.row.plan, warm.contender, SAMPLING_WARM_UP)
    warm_up = time.perf_counter() - started
    seconds: list[float] = []
    while len(seconds) < SAMPLINGS and sum(seconds) < length.seconds:
        started = time.perf_counter()
        _sample(warm.row.plan, warm.contender, config.sampling_steps)
        seconds.append(time.perf_counter() - started)
    return {
        "sampling_images_per_second": config.batch_size / median(seconds),
        "sampling_steps": config.sampling_steps,
        "sampling_batch_size": config.batch_size,
        "sampler": config.sampler,
        "cfg_scale": config.cfg_scale,
        "warm_up_seconds": warm.seconds + warm_up,
    }


def _sample(plan: Plan, contender: Contender, most_steps: int) -> None:
    """Draw one batch; it is on the CPU in the end, so that the device is done."""
    steps = min(most_steps, plan.config.eval.sampling_steps)
    config = plan.config.with_values(eval__sampling_steps=steps)
    labels = balanced_labels(config.eval.batch_size, plan.dataset.num_classes)
    # A DiT, or what is called like one.
    model = cast("DiT", contender.average)
    sample_images(model, config, plan.objective, plan.dataset, labels)


def _told(warm: _Warm, seconds: list[float], ceiling: float, peak: int | None) -> dict[str, Any]:
    """The row of one model, from the seconds of a step in each part."""
    row, config = warm.row, warm.row.plan.config
    step = Spread.of(seconds)
    flops = row.plan.train_flops(1)
    return {
        **_conditions(row),
        "compiled": warm.contender.compiled,
        "parameters": warm.contender.parameters,
        "train_flops_per_step": flops,
        "step_ms_median": 1e3 * step.median,
        "step_ms_p10": 1e3 * step.p10,
        "step_ms_p90": 1e3 * step.p90,
        "parts": warm.timed.parts,
        "steps_per_part": warm.timed.steps,
        "images_per_second": config.train.batch_size / step.median,
        "train_tflops_per_second": flops / step.median / 1e12,
        "matmul_tflops_per_second": ceiling / 1e12,
        "share_of_matmul": flops / step.median / ceiling,
        "peak_memory_bytes": peak,
    }


def _conditions(row: Row) -> dict[str, Any]:
    """What was measured, and on what."""
    plan = row.plan
    on_cpu = plan.device.type == "cpu"
    return {
        "block": row.name,
        "implementation": row.maker.implementation,
        "model": plan.cost.model,
        "input": plan.cost.input,
        "batch_size": plan.config.train.batch_size,
        "objective": plan.config.objective.name,
        "precision": plan.config.train.precision,
        "device": environment.device_name(plan.device),
        "threads": torch.get_num_threads() if on_cpu else None,
        "torch": torch.__version__,
    }


def with_ratios(told: Iterable[Mapping[str, Any]], reference: str) -> list[dict[str, Any]]:
    """Rows with `step_ratio`, the step's time over that of the row `reference`; None without it."""
    rows = [dict(row) for row in told]
    times = {row["block"]: row["step_ms_median"] for row in rows}
    for row in rows:
        base = times.get(reference)
        row["step_ratio"] = None if base is None else row["step_ms_median"] / base
        row["step_ratio_to"] = reference
    return rows
