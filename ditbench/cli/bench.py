"""`ditbench bench`: how fast blocks train and sample, beside others' models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.amounts import parse_count, parse_seconds
from ditbench.cli.options import COMPILE, DEVICES, Blocks, Format, Output, parse_blocks
from ditbench.errors import DitbenchError
from ditbench.models.sizes import parse_input, parse_model

if TYPE_CHECKING:
    from pathlib import Path

    from ditbench.config import RunConfig
    from ditbench.training.bench import Length, Row
    from ditbench.training.contender import Maker

# The block that a peer is a model of, and that others are measured against where it is among them.
REFERENCE = "adaln-zero"
# Weaker than --set. The paper's objective and learning rate, from the first step on: with a warm-up
# all that is timed would train at almost none.
DEFAULTS = ("objective.name=ddpm", "train.lr=1e-4", "train.warmup=0.0")
SECONDS = 3.0
BATCH_SIZE = 128
MOST_SAMPLED = 1_000_000  # at once, as the configuration has it


def bench(
    block: Blocks = "paper",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="S/2, or 256x8x4/2 (hidden x depth x heads / patch). Default: 64x4x4/2.",
        ),
    ] = None,
    input: Annotated[  # noqa: A002 (the option's name)
        str,
        typer.Option(metavar="HxWxC", help="Height x width x channels of the random images."),
    ] = "32x32x4",
    classes: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Of which labels are drawn.")
    ] = 1000,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Images a step, and in a batch of samples. Default: 128."
        ),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(metavar="NAME", help="ddpm or flow. Default: ddpm.")
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Measure others' adaLN-Zero too: diffusers, diffusers-compiled or both.",
        ),
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Of timing for each row: 10, 1m. Default: 3."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(metavar="N", help="Timed steps of each row instead of seconds, 10 or more."),
    ] = None,
    sampling_steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of the sampler. Default: 25.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help=DEVICES)] = "auto",
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, fp32 or bf16.")
    ] = None,
    compile: Annotated[  # noqa: A002 (the option's name)
        str, typer.Option(metavar="NAME", help=f"{COMPILE}; auto is off here.")
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of a run; repeatable."),
    ] = None,
    format: Format = None,  # noqa: A002
    output: Output = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Time training steps and sampling on random images; nothing is written into results.

    A step is all of it: batch, forward and backward pass, AdamW, EMA. Its time is the median over
    parts of several steps. The share of matmul is what training computes per second over what one
    large matrix product does on the same device. How to read it: docs/bench.md.
    """
    from ditbench.report.tables.render import format_of

    format_of(output, format)  # a wrong one is refused before anything is measured
    names, shape = parse_blocks(block), parse_input(input)
    overrides: dict[str, Any] = {
        **_size(model),
        "objective.name": objective,
        "train.batch_size": batch_size,
        "train.precision": precision,
        "eval.sampling_steps": sampling_steps,
        "budget.steps": 10**6,  # never used up, and no clock is looked at
    }
    given = {key: value for key, value in overrides.items() if value is not None}

    from ditbench.config import load

    sampled = min(batch_size or BATCH_SIZE, MOST_SAMPLED)
    defaults = (*DEFAULTS, f"train.batch_size={BATCH_SIZE}", f"eval.batch_size={sampled}")
    config = load(settings=(*defaults, *(set_ or ())), overrides=given)
    length = _length(seconds, steps)
    rows = _rows(config, names, peer, shape, classes, device, compile)
    _measure(rows, length, format, output, quiet=quiet)


def _size(model: str | None) -> dict[str, Any]:
    if model is None:
        return {}
    return {f"model.{name}": value for name, value in vars(parse_model(model)).items()}


def _length(seconds: str | None, steps: str | None) -> Length:
    """What --seconds or --steps says."""
    from ditbench.training.bench import Length
    from ditbench.training.timing import LEAST_PARTS

    if seconds is not None and steps is not None:
        raise DitbenchError("--seconds and --steps are given together", "leave one")
    if steps is None:
        return Length(SECONDS if seconds is None else parse_seconds(seconds, "--seconds"))
    count = parse_count(steps, "--steps")
    if count < LEAST_PARTS:
        raise DitbenchError(
            f"--steps {count} is too few to tell a spread", f"write --steps {LEAST_PARTS} or more"
        )
    return Length(SECONDS, count)


def _rows(
    config: RunConfig,
    names: list[str],
    peer: str | None,
    shape: tuple[int, int, int],
    classes: int,
    device: str,
    choice: str,
) -> list[Row]:
    """The blocks, then the peers; each is refused here that could not be measured."""
    from ditbench.plugins.options import check_options
    from ditbench.training.bench import Row
    from ditbench.training.compile_choice import as_asked
    from ditbench.training.contender import Ours
    from ditbench.training.environment import select_device
    from ditbench.training.peers import check_peer, load_peer
    from ditbench.training.synthetic import plan_on, random_images

    check_options(names, config.model.size, config.options)
    peers = [] if peer is None else [check_peer(part.strip()) for part in peer.split(",")]
    where = select_device(device)
    compiling = as_asked(choice, where)
    images = random_images(*shape, classes, least=config.train.batch_size)
    makers: list[tuple[str, str, Maker]] = [(name, name, Ours()) for name in names]
    makers += [(name, REFERENCE, load_peer(name)) for name in dict.fromkeys(peers)]
    rows = [
        Row(name, plan_on(images, config.with_values(block=block), where, compiling), maker)
        for name, block, maker in makers
    ]
    for row in rows:
        row.maker.check(row.plan)
    return rows


def _measure(
    rows: list[Row],
    length: Length,
    format: str | None,  # noqa: A002
    output: Path | None,
    *,
    quiet: bool,
) -> None:
    """Measure and tell; what was measured before something went wrong is told all the same."""
    from ditbench.training.bench import bench, with_ratios

    def say(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    names = [row.name for row in rows]
    reference = REFERENCE if REFERENCE in names else names[0]
    told: list[dict[str, Any]] = []
    try:
        for row in bench(rows, length, say):
            told.append(row)  # noqa: PERF402 (those before one that fails are kept)
    finally:
        if told:
            _tell(with_ratios(told, reference), format, output)


def _tell(
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
