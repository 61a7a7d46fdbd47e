"""`ditbench bench`: the speed of training and sampling, beside other implementations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.amounts import counted, decimals, significant
from ditbench.cli.execution.scaling import WITH, Several, gather, measure_gpus
from ditbench.cli.options.common import Table, how, option, refuse, what
from ditbench.cli.options.completion import complete_blocks
from ditbench.cli.options.parse import parse_blocks, parse_count, parse_seconds
from ditbench.cli.options.sizes import Size, parse_sizes
from ditbench.cli.options.training import Model, Quiet
from ditbench.cli.output.meter import load_torch
from ditbench.cli.output.printing import progress
from ditbench.errors import DitbenchError
from ditbench.plugins.lookup import check_options
from ditbench.report.tables.columns import Column, hidden

if TYPE_CHECKING:
    from ditbench.bench.measure import Row
    from ditbench.bench.timing import Length

# The block of the peers' models. Step ratios are to it, if it is measured.
REFERENCE = "adaln-zero"
SECONDS = 3.0

_whole, _three_digits = decimals(0), significant(3)
# The columns of the rows of `ditbench.bench.measure.with_ratios`.
COLUMNS = (
    Column("block", "Block"),
    *hidden("implementation"),
    Column("model", "Model"),
    Column("input", "Input"),
    Column("batch_size", "Batch", _whole),
    *WITH,
    Column("step_ms_median", "Step (ms)", _three_digits, "low"),
    Column("step_ms_p10", "10-90% of parts", _three_digits, until="step_ms_p90"),
    *hidden("step_ms_p90"),
    Column("step_ratio", "Step ratio", decimals(3), "low"),
    *hidden("step_ratio_to", "parts", "steps_per_part"),
    Column("images_per_second", "Images/s", _three_digits, "high"),
    Column("train_tflops_per_second", "TFLOP/s", _three_digits, "high"),
    *hidden("matmul_tflops_per_second"),
    Column("share_of_matmul", "% of matmul", decimals(1, 100), "high"),
    Column("peak_memory_bytes", "Peak mem (MiB)", decimals(0, 2**-20), "low"),
    Column("sampling_images_per_second", "Sampled images/s", _three_digits, "high"),
    *hidden("sampling_steps", "sampling_batch_size", "sampler", "cfg_scale"),
    Column("warm_up_seconds", "Warm-up (s)", decimals(1)),
)


def bench(
    options: Model,
    block: Annotated[str | None, option("NAMES",
        "Blocks or groups, joined by commas; see `ditbench blocks`. Default: paper; adaln-zero "
        "with --gpus.", autocompletion=complete_blocks)] = None,
    input: Annotated[str, what("HxWxC",  # noqa: A002
        "Height x width x channels of the random images, or a list.")] = "32x32x4",
    classes: Annotated[int, what("N", "The number of classes.", min=1, max=1_000_000)] = 1000,
    peer: Annotated[str | None, what("NAMES",
        "Also measure adaLN-Zero of others: diffusers, diffusers-compiled or both.")] = None,
    gpus: Annotated[str | None, how("NUMBERS",
        "Measure training on 1, 2, 4 ... GPUs of this machine instead (1,2,4).")] = None,
    scaling: Annotated[str | None, how("NAME",
        "With --gpus: weak (--batch-size images per GPU), strong (--batch-size images on all GPUs "
        "together) or both. Default: weak.")] = None,
    seconds: Annotated[str | None, how("TIME",
        "Seconds of timing per row: 10, 1m. Default: 3.")] = None,
    steps: Annotated[str | None, how("N",
        "Timed steps per row instead of seconds, 10 or more.")] = None,
    sampling_steps: Annotated[int | None, how("N",
        "Steps of the sampler. Default: 25.", min=1)] = None,
    no_sampling: Annotated[bool, how(None, "Time training only.", "--no-sampling")] = False,
    *, table: Table,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Time training steps and sampling on random images. Nothing is written into results.

    A step is a whole training step: batch, forward and backward pass, AdamW, EMA. Its time is the
    median over parts of several steps. The share of matmul is the training FLOP/s divided by the
    FLOP/s of one large matrix product on the same device. Default: 64x4x4/2, batches of 128, DDPM.

    --model, --batch-size, --input and --backend may be lists, joined by commas: every combination
    is measured. XL/2:128 is a model with a batch size of its own. How to read the table:
    docs/bench.md.
    """
    if gpus is None:
        if scaling is not None:
            raise DitbenchError(f"--scaling {scaling} is given without --gpus", "add --gpus 1,2,4")
    else:
        refuse("--gpus", {"--peer": peer, "--sampling-steps": sampling_steps})
    names = parse_blocks(block or ("paper" if gpus is None else REFERENCE))
    sizes = parse_sizes(options, input, classes, sampling_steps)
    load_torch(quiet=quiet)
    length = replace(_length(seconds, steps), sampling=not no_sampling)
    table.check_place()
    if gpus is not None:
        several = Several.parse(gpus, scaling or "weak", options.device)
        measure_gpus(sizes, names, several, length, table, quiet=quiet)
        return
    rows = _rows(options, sizes, names, peer)

    from ditbench.bench import measure

    reference = next((row for row in rows if row.name == REFERENCE), rows[0])
    compared = reference.name, reference.plan.backend.name
    # None is the best of several sizes.
    columns = COLUMNS if len(sizes) == 1 else [replace(column, best=None) for column in COLUMNS]

    def show(measured: list[dict[str, Any]]) -> None:
        rows = measure.with_ratios(measured, *compared)
        on_terminal = table.chosen == "rich"
        table.write(rows, *_on_a_terminal(rows, columns) if on_terminal else [columns])

    gather(measure.bench(rows, length, progress(quiet=quiet)), show)


def _length(seconds: str | None, steps: str | None) -> Length:
    """The value of --seconds or --steps."""
    from ditbench.bench.timing import LEAST_PARTS, Length

    if seconds is not None and steps is not None:
        raise DitbenchError("--seconds and --steps are given together", "omit one")
    if steps is None:
        return Length(SECONDS if seconds is None else parse_seconds(seconds, "--seconds"))
    count = parse_count(steps, "--steps")
    if count < LEAST_PARTS:
        message = f"--steps {count} is too few for a spread"
        raise DitbenchError(message, f"write --steps {LEAST_PARTS} or more")
    return Length(SECONDS, count)


def _rows(options: Model, sizes: Sequence[Size], names: list[str], peer: str | None) -> list[Row]:
    """For each size, the blocks with each backend, then the peers."""
    from ditbench.bench.adapters import OURS, load_peer
    from ditbench.bench.measure import Row
    from ditbench.bench.synthetic import plan_on, random_images
    from ditbench.runs.machine.environment import select_device

    device = select_device(options.device)
    peers = [] if peer is None else [part.strip() for part in peer.split(",")]
    adapters = {name: load_peer(name) for name in peers}
    images_of = cache(random_images)  # shared by sizes, which only read them
    rows = []
    for size in sizes:
        first = size.configs[0]
        check_options(names, first.model.size, first.options)
        images = images_of(*size.shape, least=first.train.batch_size)
        chosen = [(name, name, config, OURS) for name in names for config in size.configs]
        chosen += [(name, REFERENCE, first, adapter) for name, adapter in adapters.items()]
        for name, block, config, adapter in chosen:
            plan = plan_on(images, config.with_values(block=block), device)
            rows.append(Row(name, plan, adapter))
    for row in rows:
        row.adapter.check(row.plan)
    return rows


def _on_a_terminal(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]
) -> tuple[list[Column], str]:
    """The columns and the title of a table. The title has the conditions that all rows share."""
    row = rows[0]
    threads = "" if row["threads"] is None else f" ({counted(row['threads'], 'thread')})"
    texts = {
        "model": "{}", "input": "random {}", "batch_size": "batches of {}", "objective": "{}",
        "precision": "{}", "device": f"{{}}{threads}", "torch": "torch {}", "backend": "backend {}",
    }  # fmt: skip
    equal = [name for name in texts if len({each[name] for each in rows}) == 1]
    title = (
        f"In all rows: {', '.join(texts[name].format(row[name]) for name in equal)}. "
        f"Matmul: {row['matmul_tflops_per_second']:.3g} TFLOP/s. "
        f"Step ratio: to {row['step_ratio_to']}."
    )
    if "sampler" in row:
        sizes = sorted({each["sampling_batch_size"] for each in rows})
        batches = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
        steps = f"{row['sampling_steps']} steps of {row['sampler']}"
        title += f" Sampling: {steps}, batches of {batches}."
    known = [each for each in columns if any(row.get(each.name) is not None for row in rows)]
    return [each for each in known if each.name not in equal], title
