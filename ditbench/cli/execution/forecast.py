"""`--dry-run`: what would be run, how long it would take, and what it needs. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heapreplace
from statistics import mean
from typing import TYPE_CHECKING, Any

from ditbench.amounts import counted, decimals, duration, file_size, significant
from ditbench.cli.execution.training import at_a_time
from ditbench.cli.output.printing import echo, print_json, print_sentence, print_wrapped, progress
from ditbench.errors import one_line
from ditbench.report.tables.columns import Column

if TYPE_CHECKING:
    from ditbench.launch.devices import Workers
    from ditbench.runs.planning.plan import Plan

CONVENTION = "Per run; Total with evaluation. Training FLOPs = 3 x 2 x forward MACs x images."
# FLOP/s of XL/2 in bf16 on an H100, in round numbers: docs/scale.md.
TYPICAL_SPEED = 4e14
DAY = 86_400  # seconds
# The memory of common GPUs, in bytes.
CARDS: tuple[int, ...] = (24 * 2**30, 40 * 2**30, 80 * 2**30)
# Characters of the names of classes in a heading.
SHOWN_CLASSES = 160

_TIMES = ("expected_train_seconds", "expected_total_seconds")
_numbers = "{}".format
_FORECAST = (
    Column("block", "Block"),
    Column("model", "Model"),
    Column("lr", "Learning rate", "{:g}".format),
    Column("seeds", "Seeds"),
    Column("steps", "Steps", _numbers),
    Column("images", "Images", _numbers),
    Column("train_flops", "Training PFLOPs", _numbers),
    Column("expected_train_seconds", "Train", _numbers),
    Column("expected_total_seconds", "Total", _numbers),
)


def print_forecast(plans: list[Plan], workers: Workers, *, as_json: bool, quiet: bool) -> None:
    """Print what would be run, and how long it would take. Nothing is written."""
    import torch

    from ditbench.runs.planning.calibrate import forecast

    if len(workers) > 1 and plans[0].device.type == "cpu":  # as a worker will have
        torch.set_num_threads(int(workers.environments[0]["OMP_NUM_THREADS"]))
    rows = list(forecast(plans, progress(quiet=quiet)))
    if as_json:
        rows = list(_with_needs(plans, rows, workers.gpus))
        print_json(rows)
        return
    print_sentence(_total(rows, workers), "bold")
    for text in _needs(plans, rows, workers.gpus):
        print_sentence(text)
    print_sentence(f"Results go into {os.path.commonpath([row['path'] for row in rows])}.")
    echo()
    _print_table(plans[0], rows)


def _print_table(first: Plan, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what the runs share, a row per block, whose seeds differ in nothing, and remarks."""
    alike = {key for key in ("lr", "model") if len({row[key] for row in rows}) == 1}
    model = first.cost.model if "model" in alike else "matched models"
    names = first.dataset.class_names
    print_sentence(
        f"{model} on {first.dataset.name} {first.cost.input}, on {first.device}, "
        f"{first.config.objective.name}, {counted(len(first.budget.marks), 'evaluation')}"
    )
    print_sentence(one_line(f"{counted(len(names), 'class')}: {', '.join(names)}", SHOWN_CLASSES))
    columns = [column for column in _FORECAST if column.name not in alike]
    print_wrapped([_in_words(each) for each in _by_seeds(rows)], columns)
    print_sentence(CONVENTION, "dim")
    if compiled := dict.fromkeys(row["block"] for row in rows if row["backend"] != "plain"):
        print_sentence(f"Compiled, which takes tens of seconds more: {', '.join(compiled)}.")
    if any(row["estimated"] for row in rows):
        print_sentence("~ is estimated from the speed in a short calibration.")


def _total(rows: Sequence[Mapping[str, Any]], workers: Workers) -> str:
    """How long the whole command would take."""
    left = [row for row in rows if not row["complete"]]
    if not left:
        return f"Nothing is left to do: {counted(len(rows), 'run')}, complete."
    if any(row["expected_total_seconds"] is None for row in left):
        hours = sum(row["train_flops"] for row in left) / TYPICAL_SPEED / 3600
        return (
            f"Too large to time on a CPU: training takes about {significant(3)(hours)} GPU hours "
            f"at {TYPICAL_SPEED / 1e12:.0f} TFLOP/s, the speed of XL/2 on an H100."
        )
    complete = f"; {len(rows) - len(left)} complete" if len(left) < len(rows) else ""
    busy = [0.0] * len(workers)  # until when
    for seconds in sorted((row["expected_total_seconds"] for row in left), reverse=True):
        heapreplace(busy, busy[0] + seconds)
    runs = f"{counted(len(left), 'run')}{at_a_time(workers)}{complete}"
    return f"About {duration(max(busy))} for {runs}, by a short calibration."


def _needs(plans: Sequence[Plan], rows: Sequence[Mapping[str, Any]], gpus: int) -> Iterator[str]:
    """What the runs that are left need of a GPU's memory, and of the disk."""
    from ditbench.runs.planning.ready import checkpoints_size

    left = [plan for plan, row in zip(plans, rows, strict=True) if not row["complete"]]
    if not left:
        return
    yield f"Disk: {file_size(checkpoints_size(left))} of checkpoints, while they are written."
    largest = max(left, key=lambda plan: plan.cost.parameters)
    on_gpu = largest.device.type == "cuda"
    times = [row["expected_total_seconds"] for row in rows if not row["complete"]]
    if not on_gpu and all(time is not None and time < DAY for time in times):
        return  # it trains on this CPU
    each = "each of the GPUs" if gpus > 1 else "a GPU"
    memory = _memory(largest, gpus)
    yield (
        f"Memory: {largest.config.block} needs about {_gib(memory['gpu_memory_bytes'])} of "
        f"{each}{'' if on_gpu else ' in bf16'}, without decoder and features. "
        + " ".join(_fit(card["gpu_bytes"], card["settings"]) for card in memory["fits"])
    )


def _memory(plan: Plan, gpus: int) -> dict[str, Any]:
    """The memory of each GPU that a run needs, and how it fits on this one or on common ones."""
    import torch

    from ditbench.runs.planning.memory import peak_memory, what_fits
    from ditbench.world import World

    plan, cards = replace(plan, world=World(0, gpus)), CARDS
    # A GPU's, in the place of this CPU's.
    precision = "bf16" if plan.config.train.precision == "fp32" else None
    if plan.device.type == "cuda":
        cards, precision = (torch.cuda.get_device_properties(plan.device).total_memory,), None
    return {
        "gpu_memory_bytes": peak_memory(plan, precision),
        "gpu_memory_precision": precision or plan.config.train.precision,
        "fits": [
            {"gpu_bytes": card, "settings": what_fits(plan, card, precision)} for card in cards
        ],
    }


def _with_needs(
    plans: Sequence[Plan], rows: Sequence[Mapping[str, Any]], gpus: int
) -> Iterator[dict[str, Any]]:
    """The rows with the bytes that each run alone needs; None for a complete run."""
    from ditbench.runs.planning.ready import checkpoints_size

    known: dict[str, dict[str, Any]] = {}  # neither seed nor learning rate changes them
    keys = ("gpu_memory_bytes", "gpu_memory_precision", "fits")
    for plan, row in zip(plans, rows, strict=True):
        if row["complete"]:
            yield {**row, "disk_bytes": None, **dict.fromkeys(keys)}
            continue
        name = plan.config.with_values(train__lr=1.0).fingerprint
        if name not in known:
            known[name] = _memory(plan, gpus)
        yield {**row, "disk_bytes": checkpoints_size([plan]), **known[name]}


def _gib(size: int) -> str:
    """`24 GiB`, `37.4 GiB`."""
    return f"{size / 2**30:.3g} GiB"


def _fit(card: int, settings: Mapping[str, Any] | None) -> str:
    """How a run fits on a card with `card` bytes of memory."""
    on = f"On {_gib(card)}"
    if settings is None:
        return f"{on} it does not fit."
    if not settings:
        return f"{on} it fits."
    given = " ".join(f"--set {key}={str(value).lower()}" for key, value in settings.items())
    return f"{on} it fits with {given}."


def _by_seeds(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The rows that differ in the seed and what follows from it, together."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = (row["block"], row["model"], row["lr"], row["complete"], row["steps"])
        groups.setdefault(key, []).append(row)
    yield from groups.values()


def _in_words(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the table, for one or several seeds; estimated numbers have a ~ before them."""
    row = rows[0]
    mark = "~" if row["estimated"] else ""
    return {
        **row,
        "seeds": _seeds([each["seed"] for each in rows]) + " (complete)" * row["complete"],
        "steps": mark + decimals(0)(row["steps"]),
        "images": mark + decimals(0)(row["images"]),
        "train_flops": mark + significant(3, 1, 1e-15)(row["train_flops"]),
        **{key: _mean_time(rows, key) for key in _TIMES},
    }


def _mean_time(rows: Sequence[Mapping[str, Any]], key: str) -> str | None:
    """The mean over seeds: the first one may have to compute the statistics of real images."""
    times = [row[key] for row in rows]
    return None if None in times else duration(mean(times))


def _seeds(seeds: Sequence[int]) -> str:
    """`0, 1` or `0 to 7`."""
    first, last = seeds[0], seeds[-1]
    in_a_row = len(seeds) > 2 and [*seeds] == [*range(first, last + 1)]
    return f"{first} to {last}" if in_a_row else ", ".join(map(str, seeds))
