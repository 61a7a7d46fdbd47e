"""`ditbench plot`: the comparison figure."""

from pathlib import Path
from typing import Annotated

import typer

from ditbench.cli.options import Results
from ditbench.cli.output import load_runs
from ditbench.errors import unknown_name

KINDS = ("curve", "samples")


def plot(
    directory: Results = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="PNG, SVG or PDF, by its suffix."),
    ] = Path("ditbench.png"),
    kind: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="curve (FID along training) or samples (one row a block)."
        ),
    ] = "curve",
    x: Annotated[
        str,
        typer.Option(metavar="NAME", help="What a curve runs along: steps, flops or time."),
    ] = "steps",
) -> None:
    """Draw FID against training for each block, or the samples of all blocks side by side."""
    if kind not in KINDS:
        raise unknown_name("kind of plot", kind, KINDS)

    from ditbench.report.plot import plot_curves, plot_samples

    runs = load_runs(directory)
    if kind == "samples":
        plot_samples(runs, output)
    else:
        plot_curves(runs, output, x)
    typer.echo(output)
