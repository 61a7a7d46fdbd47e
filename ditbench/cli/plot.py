"""`ditbench plot`: the comparison figure."""

from pathlib import Path
from typing import Annotated

import typer

from ditbench.cli.options import Only, Results
from ditbench.cli.output import load_runs
from ditbench.errors import DitbenchError, unknown_name

KINDS = ("curve", "pareto", "samples")


def plot(
    directory: Results = None,
    block: Only = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="PNG, SVG or PDF, by its suffix."),
    ] = Path("ditbench.png"),
    kind: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="curve (FID along training), pareto (FID against cost) or samples (one row a "
            "block).",
        ),
    ] = "curve",
    x: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What a curve runs along: steps, flops or time. Default: steps.",
            show_default=False,
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Add a panel with the published FIDs of DiT-XL/2 on ImageNet, never on an axis "
            "with measured ones.",
        ),
    ] = False,
) -> None:
    """Draw FID against training or cost for each block, or the samples of all blocks."""
    _check(kind, x, paper=paper)

    from ditbench.report.plot import plot_curves, plot_pareto, plot_samples

    runs = load_runs(directory, block)
    if kind == "samples":
        plot_samples(runs, output)
    elif kind == "pareto":
        plot_pareto(runs, output, paper)
    else:
        plot_curves(runs, output, "steps" if x is None else x, paper)
    typer.echo(output)


def _check(kind: str, x: str | None, *, paper: bool) -> None:
    """Options that belong to each other, before anything is read."""
    if kind not in KINDS:
        raise unknown_name("kind of plot", kind, KINDS)
    if x is not None and kind != "curve":
        raise DitbenchError(
            f"--x {x} does not fit --kind {kind}: only a curve runs along something",
            "leave --x out, or draw --kind curve",
        )
    if paper and kind == "samples":
        raise DitbenchError(
            "--paper does not fit --kind samples: the paper's numbers are FIDs",
            "leave --paper out, or draw --kind curve or pareto",
        )
