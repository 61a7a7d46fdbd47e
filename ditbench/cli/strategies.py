"""`ditbench blocks`: the strategies, described by themselves; `blocks check`: one, checked."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.options import Format, Output
from ditbench.cli.output import emit
from ditbench.errors import EXIT_FAILED, DitbenchError, one_line
from ditbench.models.blocks import block_class, block_names, group_names, shadowed
from ditbench.models.blocks.installed import installed
from ditbench.models.sizes import parse_model

if TYPE_CHECKING:
    from ditbench.models.cost import Cost

# The paper's comparison, and the strategy that the others are measured against there.
MODEL = "XL/2"
LATENT = 32
LATENT_CHANNELS = 4
REFERENCE = "adaln"


def blocks(
    context: typer.Context,
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """List the strategies: how each conditions, what it costs, where it is from.

    Those of installed packages stand behind ditbench's own.
    """
    if context.invoked_subcommand is not None:
        if format is not None or output is not None:
            raise DitbenchError(
                f"options stand before '{context.invoked_subcommand}'",
                f"put them behind it: ditbench blocks {context.invoked_subcommand} ... --format md",
            )
        return
    from ditbench.report.amounts import decimals
    from ditbench.report.tables.columns import Column
    from ditbench.report.tables.render import format_of

    format_of(output, format)  # a wrong one is refused before the seconds that counting takes

    from ditbench.models.cost import count

    counted = partial(count, size=parse_model(MODEL), height=LATENT, width=LATENT,
                      channels=LATENT_CHANNELS)  # fmt: skip
    reference = counted(REFERENCE).gmacs
    rows = []
    for name in [*block_names(), *_installed()]:
        try:
            rows.append(_row(name, counted(name), reference))
        except DitbenchError as error:  # an installed one that is broken
            typer.secho("skipped: ", fg="yellow", nl=False, err=True)
            typer.echo(one_line(f"{name}: {error.message}"), err=True)
    columns = (
        Column("block", "Block"),
        Column("conditioning", "How the conditioning enters"),
        Column("formula", None),
        Column("reads", None),
        Column("final_layer", "Final layer"),
        Column("own_tokens", None),
        Column("options", None),
        Column("starts_as", "Starts as"),
        Column("parameters", f"{MODEL} params (M)", decimals(1, 1e-6)),
        Column("gmacs", f"{MODEL} GMACs", decimals(2)),
        Column("overhead_percent", f"vs {REFERENCE} (%)", decimals(2)),
        Column("source", "Source"),
    )
    emit(rows, columns, format, output)


def _installed() -> list[str]:
    """Strategies of installed packages; stderr names those whose names are taken."""
    for line in shadowed():
        typer.echo(f"warning: {line}", err=True)
    return [name for name in installed() if name not in block_names() + group_names()]


def _row(name: str, cost: "Cost", reference: float) -> dict[str, Any]:
    """What a strategy says of itself, and its cost beside the GMACs of the reference."""
    from ditbench.models.blocks.options import own_options

    strategy = block_class(name)
    told = ["t"] * strategy.reads_timestep + ["c"] * strategy.reads_class
    options = own_options(name, parse_model(MODEL), {})
    return {
        "block": name,
        "conditioning": strategy.summary,
        "formula": strategy.formula,
        "reads": ", ".join(told) or "nothing",
        "final_layer": "adaptive" if strategy.adaptive_final_layer else "plain",
        "own_tokens": strategy.own_tokens,
        "options": ", ".join(f"{key}={value}" for key, value in options.items()),
        "starts_as": strategy.starts_as,
        "parameters": cost.parameters,
        "gmacs": cost.gmacs,
        "overhead_percent": 100 * (cost.gmacs / reference - 1),
        "source": strategy.source,
    }


def check(
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="BLOCK",
            help="A class of your own, ./my_block.py:MyBlock or package.module:MyBlock, or the "
            "name of a strategy.",
        ),
    ],
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Check that a strategy keeps to what makes its runs comparable: seconds, on tiny models.

    Shapes, initial weights, gradients, what it is told, types of numbers, cost, checkpoints,
    compiling. Exits with 1 if a check fails.
    """
    from ditbench.report.tables.columns import Column
    from ditbench.report.tables.render import format_of

    format_of(output, format)  # a wrong one is refused before the seconds that checking takes

    from ditbench.models.check import check_strategy

    outcomes = list(check_strategy(strategy))
    rows = [
        {
            "check": outcome.check,
            "result": "ok" if outcome.ok else "failed",
            "detail": outcome.detail,
            "help": outcome.hint,
        }
        for outcome in outcomes
    ]
    columns = (
        Column("check", "Check"),
        Column("result", "Result"),
        Column("detail", "What was found"),
        Column("help", "Help"),
    )
    emit(rows, columns, format, output)
    failed = [outcome.check for outcome in outcomes if not outcome.ok]
    if failed:
        raise DitbenchError(
            f"{strategy} fails {len(failed)} of {len(outcomes)} checks: {', '.join(failed)}",
            "the table says what helps; docs/your-own.md",
            EXIT_FAILED,
        )
