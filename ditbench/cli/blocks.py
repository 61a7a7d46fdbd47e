"""`ditbench blocks` lists the conditioning blocks; `ditbench blocks check` checks one of them."""

import textwrap
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.options import Format, Output
from ditbench.cli.output import emit, note
from ditbench.errors import EXIT_FAILED, DitbenchError, one_line
from ditbench.models.registry import block_class, block_names, group_names
from ditbench.models.sizes import parse_model
from ditbench.plugins.installed import installed, shadowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.models.blocks.base import Block
    from ditbench.models.cost import Cost
    from ditbench.plugins.check import Outcome

# The comparison of the paper, and the block whose cost the others are compared with.
MODEL = "XL/2"
LATENT = 32
LATENT_CHANNELS = 4
REFERENCE = "adaln"
WIDTH = 80


def blocks(
    context: typer.Context,
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """List the blocks: how each one conditions the model, and what it costs.

    Blocks of installed packages follow ditbench's own. Formats other than the terminal's have more
    columns: formula, source, options and others.
    """
    if context.invoked_subcommand is not None:
        if format is not None or output is not None:
            raise DitbenchError(
                f"options stand before '{context.invoked_subcommand}'",
                f"put them behind it: ditbench blocks {context.invoked_subcommand} ... --format md",
            )
        return
    from ditbench.report.tables import Column, decimals, format_of

    on_terminal = format_of(output, format) == "rich"
    from ditbench.models.cost import count
    from ditbench.plugins.lookup import block_errors, find_block

    size = parse_model(MODEL)
    counted = partial(count, size=size, height=LATENT, width=LATENT, channels=LATENT_CHANNELS)
    reference = counted(block_class(REFERENCE), name=REFERENCE)
    rows = []
    for name in [*block_names(), *_installed()]:
        try:
            block = find_block(name)
            with block_errors(name):
                rows.append(_row(block, counted(block, name=name), reference))
        except DitbenchError as error:  # a broken package
            note("skipped", f"{name}: {error.message}")
    columns = (
        Column("block", "Block"),
        Column("conditioning", "How the conditioning enters"),
        Column("formula", None),
        Column("reads", None),
        Column("final_layer", None if on_terminal else "Final layer"),
        Column("own_tokens", None),
        Column("options", None),
        Column("starts_as", None if on_terminal else "Starts as"),
        Column("parameters", f"{MODEL} params (M)", decimals(1, 1e-6)),
        Column("gmacs", f"{MODEL} GMACs", decimals(2)),
        Column("overhead_percent", f"vs {REFERENCE} (%)", decimals(2)),
        Column("source", None if on_terminal else "Source"),
    )
    emit(rows, columns, format, output)


def _installed() -> list[str]:
    """Blocks of installed packages; stderr names those whose names ditbench uses itself."""
    for line in shadowed():
        note("warning", line)
    return [name for name in installed() if name not in block_names() + group_names()]


def _row(block: "type[Block]", cost: "Cost", reference: "Cost") -> dict[str, Any]:
    """What a block says of itself, and its cost."""
    options = block.options(parse_model(MODEL))
    reads = ["t"] * block.reads_timestep + ["c"] * block.reads_class
    return {
        "block": cost.block,
        "conditioning": block.summary,
        "formula": block.formula,
        "reads": ", ".join(reads) or "nothing",
        "final_layer": "adaptive" if block.adaptive_final_layer else "plain",
        "own_tokens": block.own_tokens,
        "options": ", ".join(f"{key}={value}" for key, value in options.items()),
        "starts_as": block.starts_as,
        "parameters": cost.parameters,
        "gmacs": cost.gmacs,
        "overhead_percent": 100 * (cost.gmacs / reference.gmacs - 1),
        "source": block.source,
    }


def check(
    block: Annotated[
        str,
        typer.Argument(
            metavar="BLOCK",
            help="The name of a block, ./my_block.py:MyBlock or package.module:MyBlock.",
        ),
    ],
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Check a block on tiny models on the CPU; this takes seconds.

    Shapes, initial weights, gradients, conditioning, number types, cost, checkpoints and compiling:
    what runs need in order to be comparable. Exits with 1 if a check fails.
    """
    from ditbench.report.tables import Column, format_of

    on_terminal = format_of(output, format) == "rich"
    from ditbench.plugins.check import check_block

    outcomes = []
    for outcome in check_block(block):
        outcomes.append(outcome)
        if on_terminal:
            typer.echo(_lines(outcome))
    if not on_terminal:
        columns = [
            Column(name, name.capitalize()) for name in ("check", "result", "detail", "help")
        ]
        emit(_rows(outcomes), columns, format, output)
    failed = [outcome.check for outcome in outcomes if not outcome.ok]
    if failed:
        raise DitbenchError(
            f"{block} fails {len(failed)} of {len(outcomes)} checks: {', '.join(failed)}",
            "docs/your-own.md says what a block must do",
            EXIT_FAILED,
        )


def _lines(outcome: "Outcome") -> str:
    """One line for a check that fits the terminal, more for a long reason; then the hint."""
    result = "ok" if outcome.ok else "failed"
    texts = [f"{result:7} {outcome.check:13} {one_line(outcome.detail)}"]
    if outcome.hint:
        texts.append(f"{'':7} {'':13} help: {one_line(outcome.hint)}")
    indent = " " * 22
    return "\n".join(
        textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False,
                      break_on_hyphens=False)
        for text in texts
    )  # fmt: skip


def _rows(outcomes: "Sequence[Outcome]") -> list[dict[str, str]]:
    return [
        {
            "check": outcome.check,
            "result": "ok" if outcome.ok else "failed",
            "detail": outcome.detail,
            "help": outcome.hint,
        }
        for outcome in outcomes
    ]
