"""`ditbench blocks` lists the conditioning blocks; `ditbench blocks check` checks one of them."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.amounts import decimals
from ditbench.cli.options.common import Table, argument
from ditbench.cli.options.completion import complete_blocks
from ditbench.cli.output.meter import load_torch, one_by_one
from ditbench.cli.output.printing import echo, note, print_wrapped
from ditbench.errors import EXIT_FAILED, DitbenchError, one_line
from ditbench.models.registry import block_names, group_names
from ditbench.models.sizes import parse_model
from ditbench.plugins.lookup import block_errors, find_block, installed, shadowed
from ditbench.report.tables.columns import Column, hidden

if TYPE_CHECKING:
    from ditbench.plugins.check import Outcome

# The comparison of the paper, and the block whose cost the others are compared with.
MODEL = "XL/2"
INPUT = {"height": 32, "width": 32, "channels": 4}
REFERENCE = "adaln"
WIDTH = 80
COLUMNS = [
    Column("block", "Block"),
    Column("conditioning", "How the conditioning enters"),
    *hidden("formula", "reads"),
    Column("final_layer", "Final layer"),
    *hidden("own_tokens", "options"),
    Column("starts_as", "Starts as"),
    Column("parameters", f"{MODEL} params (M)", decimals(1, 1e-6)),
    Column("gmacs", f"{MODEL} GMACs", decimals(2)),
    Column("overhead_percent", f"vs {REFERENCE} (%)", decimals(2)),
    Column("source", "Source"),
]
ON_TERMINAL = ("block", "conditioning", "parameters", "gmacs", "overhead_percent")


def blocks(context: typer.Context, table: Table) -> None:
    """List the blocks: how each one conditions the model, and what it costs.

    Blocks of installed packages follow ditbench's own. Formats other than the terminal's have more
    columns: formula, source, options and others.
    """
    if context.invoked_subcommand is not None:
        if table.format is not None or table.as_json or table.output is not None:
            raise DitbenchError(
                f"options must follow '{context.invoked_subcommand}'",
                f"write: ditbench blocks {context.invoked_subcommand} ... --format md",
            )
        return
    if table.chosen == "rich":
        print_wrapped(_rows(), [each for each in COLUMNS if each.name in ON_TERMINAL], width=WIDTH)
    else:
        table.write(_rows(), COLUMNS)


def _rows() -> list[dict[str, Any]]:
    """The rows of all blocks; stderr names those that are left out."""
    for line in shadowed():
        note("warning", line)
    own = block_names()
    rows = []
    others = [name for name in installed() if name not in own + group_names()]
    with one_by_one("blocks", [*own, *others]) as names:
        for name in names:
            try:
                with block_errors(name):
                    rows.append(_row(name))
            except DitbenchError as error:  # a broken package
                note("skipped", f"{name}: {error.message}")
    reference = next(row["gmacs"] for row in rows if row["block"] == REFERENCE)
    return [{**row, "overhead_percent": 100 * (row["gmacs"] / reference - 1)} for row in rows]


def _row(name: str) -> dict[str, Any]:
    """What a block says of itself, and its cost."""
    from ditbench.models.cost import count

    block, size = find_block(name), parse_model(MODEL)
    cost = count(block, size, **INPUT)
    return {
        "block": name,
        "conditioning": block.summary,
        "formula": block.formula,
        "reads": ", ".join(["t"] * block.reads_timestep + ["c"] * block.reads_class) or "nothing",
        "final_layer": "adaptive" if block.adaptive_final_layer else "plain",
        "own_tokens": block.own_tokens,
        "options": ", ".join(f"{key}={value}" for key, value in block.options(size).items()),
        "starts_as": block.starts_as,
        "parameters": cost.parameters,
        "gmacs": cost.gmacs,
        "source": block.source,
    }


def check(
    block: Annotated[str, argument("BLOCK",
        "The name of a block, ./my_block.py:MyBlock or package.module:MyBlock.", complete_blocks)],
    table: Table,
) -> None:  # fmt: skip
    """Check a block on tiny models on the CPU; this takes seconds.

    Shapes, initial weights, gradients, conditioning, number types, cost, checkpoints and compiling:
    what runs need in order to be comparable. Exits with 1 if a check fails.
    """
    load_torch()
    from ditbench.plugins.check import CHECKS, Outcome, check_block

    if table.chosen == "rich":
        outcomes = _print_each(check_block(block))
    else:
        outcomes = list(check_block(block))
        columns = [Column(name, name.capitalize()) for name in Outcome._fields]
        table.write([outcome._asdict() for outcome in outcomes], columns)
    failed = [outcome.check for outcome in outcomes if not outcome.ok]
    if failed:
        rest = "" if len(outcomes) == len(CHECKS) else "; the others need it, and were not made"
        what = f"{block} fails {len(failed)} of {len(CHECKS)} checks: {', '.join(failed)}{rest}"
        raise DitbenchError(what, "docs/your-own.md says what a block must do", EXIT_FAILED)


def _print_each(outcomes: Iterator["Outcome"]) -> list["Outcome"]:
    """Print a line per check as soon as it ends, then the failures with all of their reasons."""
    done = []
    for outcome in outcomes:
        done.append(outcome)
        line = f"{outcome.result:7} {outcome.check:13} {one_line(outcome.detail)}"
        echo(line if len(line) <= WIDTH else f"{line[: WIDTH - 1].rstrip()}…")
    for outcome in done:
        if outcome.help:  # a failure that is not the same as an earlier one
            _explain(outcome)
    return done


def _explain(outcome: "Outcome") -> None:
    """The whole reason of a failure, and its hint. Paths stay whole."""
    wrap = textwrap.TextWrapper(
        WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    echo()
    for text in (f"{outcome.check}: {outcome.detail}", f"  help: {outcome.help}"):
        for line in wrap.wrap(one_line(text)):
            echo(line)
