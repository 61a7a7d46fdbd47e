"""`ditbench plot`: figures of results."""

from functools import partial
from pathlib import Path
from typing import Annotated

from ditbench.cli.options import Evaluation, Only, Results, option
from ditbench.cli.output import echo, load_runs, note
from ditbench.errors import DitbenchError, unknown_name

KINDS = ("curve", "pareto", "samples")


def plot(
    directories: Results = None,
    block: Only = None,
    evaluation: Evaluation = None,
    output: Annotated[Path, option("FILE", "A .png, .svg or .pdf file.", "--output", "-o")] = Path(
        "ditbench.png"
    ),
    kind: Annotated[
        str,
        option(
            "NAME",
            "curve (FID along training), pareto (FID against cost) or samples (one row of "
            "images per block).",
        ),
    ] = "curve",
    x: Annotated[
        str | None, option("NAME", "The x axis of a curve: steps, flops or time. Default: steps.")
    ] = None,
    paper: Annotated[
        bool,
        option(
            None,
            "Add a panel with the published FIDs of DiT-XL/2 on ImageNet; they never share "
            "an axis with measured FIDs.",
            "--paper",
        ),
    ] = False,
) -> None:
    """Draw FID against training or cost for each block, or the samples of all blocks."""
    if kind not in KINDS:
        raise unknown_name("kind of plot", kind, KINDS)
    if x is not None and kind != "curve":
        raise DitbenchError(
            f"--x {x} does not fit --kind {kind}: only a curve has an x axis to choose",
            "leave out --x, or use --kind curve",
        )
    if paper and kind == "samples":
        raise DitbenchError(
            "--paper does not fit --kind samples: the published numbers are FIDs",
            "leave out --paper, or use --kind curve or pareto",
        )
    if evaluation is not None and kind != "pareto":
        raise DitbenchError(
            f"--eval does not fit --kind {kind}: it has scores of the final model only",
            "leave out --eval, or use --kind pareto",
        )

    from ditbench.report.figures.curve import curve_figure
    from ditbench.report.figures.pareto import pareto_figure
    from ditbench.report.figures.samples import samples_figure
    from ditbench.report.figures.save import save_figure

    runs = load_runs(directories, block, evaluation)
    skipped: dict[str, None] = {}  # once each, although a figure may be drawn twice
    draw = {
        "curve": lambda: curve_figure(runs, "steps" if x is None else x, paper=paper),
        "pareto": lambda: pareto_figure(runs, paper=paper),
        "samples": lambda: samples_figure(runs, skipped.setdefault),
    }
    save_figure(draw[kind], output, partial(note, "warning"))
    for text in skipped:
        note("skipped", text)
    echo(output)
