"""`ditbench bench`: the speed of training and sampling, beside other implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.amounts import parse_count, parse_seconds
from ditbench.cli.options import Blocks, Format, Output, parse_blocks
from ditbench.cli.run_options import Model, Quiet, how, load_config, takes, what
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input

if TYPE_CHECKING:
    from pathlib import Path

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


@takes(Model)
def bench(
    options: Model,
    block: Blocks = "paper",
    input: Annotated[  # noqa: A002 (the option's name)
        str, what(metavar="HxWxC", help="Height x width x channels of the random images.")
    ] = "32x32x4",
    classes: Annotated[
        int, what(metavar="N", min=1, max=1_000_000, help="The number of classes.")
    ] = 1000,
    peer: Annotated[
        str | None,
        what(
            metavar="NAMES",
            help="Also measure adaLN-Zero of others: diffusers, diffusers-compiled or both.",
        ),
    ] = None,
    seconds: Annotated[
        str | None, how(metavar="TIME", help="Seconds of timing per row: 10, 1m. Default: 3.")
    ] = None,
    steps: Annotated[
        str | None, how(metavar="N", help="Timed steps per row instead of seconds, 10 or more.")
    ] = None,
    sampling_steps: Annotated[
        int | None, how(metavar="N", min=1, help="Steps of the sampler. Default: 25.")
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
    from ditbench.report.tables.render import format_of

    format_of(output, format)  # a wrong one is an error before anything is measured
    names, shape = parse_blocks(block), parse_input(input)
    overrides = options.overrides() | {
        "eval.sampling_steps": sampling_steps,
        "budget.steps": 10**6,  # never reached, and needs no clock
    }
    sampled = min(options.batch_size or BATCH_SIZE, MOST_SAMPLED)
    defaults = (*DEFAULTS, f"train.batch_size={BATCH_SIZE}", f"eval.batch_size={sampled}")
    config = load_config(overrides, (*defaults, *(options.set_ or ())))
    length = _length(seconds, steps)
    rows = _rows(config, options, names, peer, (*shape, classes))
    _measure(rows, length, format, output, quiet=quiet)


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
    from ditbench.plugins.lookup import check_options

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


def _measure(
    rows: list[Row],
    length: Length,
    format: str | None,  # noqa: A002
    output: Path | None,
    *,
    quiet: bool,
) -> None:
    """Measure and print. Rows measured before an error are printed as well."""
    from ditbench.bench.measure import bench, with_ratios

    def say(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    names = [row.name for row in rows]
    reference = REFERENCE if REFERENCE in names else names[0]
    measured: list[dict[str, Any]] = []
    try:
        for row in bench(rows, length, say):
            measured.append(row)  # noqa: PERF402 (those before an error are kept)
    finally:
        if measured:
            _print(with_ratios(measured, reference), format, output)


def _print(
    rows: list[dict[str, Any]],
    format: str | None,  # noqa: A002
    output: Path | None,
) -> None:
    from ditbench.cli.bench_table import bench_columns, title
    from ditbench.cli.output import emit, print_table
    from ditbench.report.tables.render import format_of

    if format_of(output, format) == "rich":
        print_table(rows, bench_columns(conditions=False), title(rows[0]))
    else:
        emit(rows, bench_columns(conditions=True), format, output)
