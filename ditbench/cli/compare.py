"""`ditbench compare`: one row a block."""

from typing import Annotated

import typer

from ditbench.cli.options import Format, Output, Results
from ditbench.cli.output import emit_text, load_runs, print_rich


def compare(
    directory: Results = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The block that ratios refer to. Default: in-context, if it is there.",
        ),
    ] = None,
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Compare blocks: mean over seeds of cost, speed, FID, KID and label accuracy.

    Runs that are not alike (in data, model, budget or evaluation) get tables of their own.
    """
    from ditbench.report.compare import compare as compare_runs
    from ditbench.report.compare import split_groups
    from ditbench.report.tables import (
        comparison_columns,
        comparison_rows,
        format_of,
        render_comparisons,
        rich_table,
    )

    chosen = format_of(output, format)
    runs = load_runs(directory)
    comparisons = [compare_runs(group, baseline) for group in split_groups(runs)]
    if chosen != "rich":
        emit_text(render_comparisons(comparisons, chosen), output)
        return
    for comparison in comparisons:
        rows, columns = comparison_rows(comparison), comparison_columns(comparison)
        print_rich(rich_table(rows, columns, comparison.heading))
        typer.echo(comparison.sentence)
