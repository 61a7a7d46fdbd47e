"""`ditbench bench`: the speed of training and sampling, beside other implementations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from ditbench.cli.completion import complete_blocks
from ditbench.cli.options import (
    Format,
    Output,
    how,
    option,
    parse_blocks,
    parse_count,
    parse_seconds,
    takes,
    what,
)
from ditbench.cli.output import emit, print_table, progress
from ditbench.cli.run_options import Model, Quiet
from ditbench.cli.scaling import WITH, Several, measure_gpus
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input
from ditbench.plugins.lookup import check_options
from ditbench.report.amounts import decimals, significant
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import format_of

if TYPE_CHECKING:
    from ditbench.bench.adapters import Adapter
    from ditbench.bench.measure import Row
    from ditbench.bench.timing import Length
    from ditbench.config import RunConfig

# The block of the peers' models. Step ratios are to it, if it is measured.
REFERENCE = "adaln-zero"
# Weaker than --set. The paper's objective and learning rate, and no warm-up: in it, timed steps
# would have a learning rate of almost 0.
DEFAULTS = ("objective.name=ddpm", "train.lr=1e-4", "train.warmup=0.0")
SECONDS = 3.0
BATCH_SIZE = 128
MOST_SAMPLED = 1_000_000  # the limit of eval.batch_size

_whole, _three_digits = decimals(0), significant(3)
# The columns of the rows of `ditbench.bench.measure.with_ratios`.
COLUMNS = (
    Column("block", "Block"),
    Column("implementation", None),
    Column("model", "Model"),
    Column("input", "Input"),
    Column("batch_size", "Batch", _whole),
    *WITH,
    Column("step_ms_median", "Step (ms)", _three_digits, "low"),
    Column("step_ms_p10", "10-90% of parts", _three_digits, until="step_ms_p90"),
    Column("step_ms_p90", None, _three_digits),
    Column("step_ratio", "Step ratio", decimals(3), "low"),
    Column("step_ratio_to", None),
    Column("parts", None),
    Column("steps_per_part", None),
    Column("images_per_second", "Images/s", _three_digits, "high"),
    Column("train_tflops_per_second", "TFLOP/s", _three_digits, "high"),
    Column("matmul_tflops_per_second", None),
    Column("share_of_matmul", "% of matmul", decimals(1, 100), "high"),
    Column("peak_memory_bytes", "Peak mem (MiB)", decimals(0, 2**-20), "low"),
    Column("sampling_images_per_second", "Sampled images/s", _three_digits, "high"),
    Column("sampling_steps", None),
    Column("sampling_batch_size", None),
    Column("sampler", None),
    Column("cfg_scale", None),
    Column("warm_up_seconds", "Warm-up (s)", decimals(1)),
)
# Equal in all rows: on a terminal, they are in the title.
_CONDITIONS = ("model", "input", "batch_size", "precision", "device", "backend")
_TERMINAL_COLUMNS = [column for column in COLUMNS if column.name not in _CONDITIONS]


@takes(Model)
def bench(
    options: Model,
    block: Annotated[
        str | None,
        option(
            "NAMES",
            "Blocks or groups, joined by commas; see `ditbench blocks`. Default: paper; "
            "adaln-zero with --gpus.",
            autocompletion=complete_blocks,
        ),
    ] = None,
    input: Annotated[  # noqa: A002 (the option's name)
        str, what("HxWxC", "Height x width x channels of the random images.")
    ] = "32x32x4",
    classes: Annotated[int, what("N", "The number of classes.", min=1, max=1_000_000)] = 1000,
    peer: Annotated[
        str | None,
        what("NAMES", "Also measure adaLN-Zero of others: diffusers, diffusers-compiled or both."),
    ] = None,
    gpus: Annotated[
        str | None,
        how(
            "NUMBERS",
            "Measure training on 1, 2, 4 ... GPUs of this machine instead (1,2,4). --model may "
            "then be a list.",
        ),
    ] = None,
    scaling: Annotated[
        str,
        how(
            "NAME",
            "With --gpus: weak (--batch-size images per GPU), strong (--batch-size images on all "
            "GPUs together) or both.",
        ),
    ] = "weak",
    seconds: Annotated[
        str | None, how("TIME", "Seconds of timing per row: 10, 1m. Default: 3.")
    ] = None,
    steps: Annotated[
        str | None, how("N", "Timed steps per row instead of seconds, 10 or more.")
    ] = None,
    sampling_steps: Annotated[
        int | None, how("N", "Steps of the sampler. Default: 25.", min=1)
    ] = None,
    format: Format = None,  # noqa: A002
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Time training steps and sampling on random images. Nothing is written into results.

    A step is a whole training step: batch, forward and backward pass, AdamW, EMA. Its time is the
    median over parts of several steps. The share of matmul is the training FLOP/s divided by the
    FLOP/s of one large matrix product on the same device. Default: 64x4x4/2, batches of 128, DDPM.
    How to read the table: docs/bench.md.
    """
    chosen = format_of(output, format)
    names = parse_blocks(block or ("paper" if gpus is None else REFERENCE))
    overrides = {
        "eval.sampling_steps": sampling_steps,
        "budget.steps": 10**6,  # never reached, and needs no clock
    }
    sampled = min(options.batch_size or BATCH_SIZE, MOST_SAMPLED)
    defaults = (*DEFAULTS, f"train.batch_size={BATCH_SIZE}", f"eval.batch_size={sampled}")
    shape, length = (*parse_input(input), classes), _length(seconds, steps)
    if output is not None:
        from ditbench.runs.planning.ready import check_writable

        check_writable(output)
    if gpus is not None:
        if peer is not None:
            raise DitbenchError("--peer does not fit --gpus", "omit one of them")
        models = [None] if options.model is None else options.model.split(",")
        configs = [
            replace(options, model=model).configure({**overrides, "block": name}, defaults)
            for model in models
            for name in names
        ]
        several = Several.parse(gpus, scaling, options.device)
        measure_gpus(configs, several, shape, length, chosen, output, quiet=quiet)
        return
    config = options.configure(overrides, defaults)
    rows = _rows(config, options, names, peer, shape)

    from ditbench.bench import measure

    measured: list[dict[str, Any]] = []
    try:
        for row in measure.bench(rows, length, progress(quiet=quiet)):
            measured.append(row)  # noqa: PERF402 (those before an error are printed as well)
    finally:
        if measured:
            labels = [row.name for row in rows]
            reference = REFERENCE if REFERENCE in labels else labels[0]
            table = measure.with_ratios(measured, reference)
            if chosen == "rich":
                print_table(table, _TERMINAL_COLUMNS, _title(table[0]))
            else:
                emit(table, COLUMNS, chosen, output)


def _length(seconds: str | None, steps: str | None) -> Length:
    """The value of --seconds or --steps."""
    from ditbench.bench.timing import LEAST_PARTS, Length

    if seconds is not None and steps is not None:
        raise DitbenchError("--seconds and --steps are given together", "omit one")
    if steps is None:
        return Length(SECONDS if seconds is None else parse_seconds(seconds, "--seconds"))
    count = parse_count(steps, "--steps")
    if count < LEAST_PARTS:
        raise DitbenchError(
            f"--steps {count} is too few for a spread", f"write --steps {LEAST_PARTS} or more"
        )
    return Length(SECONDS, count)


def _rows(
    config: RunConfig,
    options: Model,
    names: list[str],
    peer: str | None,
    shape: tuple[int, int, int, int],
) -> list[Row]:
    """The blocks, then the peers. A DitbenchError is raised for each that cannot be measured."""
    from ditbench.bench.adapters import OURS, load_peer
    from ditbench.bench.measure import Row
    from ditbench.bench.synthetic import plan_on, random_images

    check_options(names, config.model.size, config.options)
    peers = [] if peer is None else [part.strip() for part in peer.split(",")]
    adapters: list[tuple[str, str, Adapter]] = [(name, name, OURS) for name in names]
    adapters += [(name, REFERENCE, load_peer(name)) for name in dict.fromkeys(peers)]
    config, device = options.place(config)
    images = random_images(*shape, least=config.train.batch_size)
    rows = [
        Row(name, plan_on(images, config.with_values(block=block), device), adapter)
        for name, block, adapter in adapters
    ]
    for row in rows:
        row.adapter.check(row.plan)
    return rows


def _title(row: Mapping[str, Any]) -> str:
    """What is equal in all rows of our blocks, from one of them."""
    threads = "" if row["threads"] is None else f" ({row['threads']} threads)"
    return (
        f"{row['model']} on random {row['input']}, batches of {row['batch_size']}, "
        f"{row['objective']}, {row['precision']}, {row['device']}{threads}, "
        f"torch {row['torch']}, backend {row['backend']}. "
        f"Matmul: {row['matmul_tflops_per_second']:.3g} TFLOP/s. "
        f"Sampling: {row['sampling_steps']} steps of {row['sampler']}, "
        f"batches of {row['sampling_batch_size']}. Step ratio: to {row['step_ratio_to']}."
    )
