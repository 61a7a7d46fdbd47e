"""`ditbench plot`: figures of results."""

from functools import partial
from pathlib import Path
from typing import Annotated

from ditbench.cli.options.common import Runs, option
from ditbench.cli.output.printing import echo_path, note
from ditbench.errors import DitbenchError, unknown_name

KINDS = ("curve", "ranking", "pareto", "samples")
# More blocks than these are drawn as a ranking: their curves would cover each other.
MOST_CURVES = 6


def plot(
    runs: Runs,
    output: Annotated[Path, option("FILE", "A .png, .svg or .pdf file.", "--output", "-o")] = Path(
        "ditbench.png"
    ),
    kind: Annotated[str | None, option("NAME",
        "curve (FID along training), ranking (final scores, sorted), pareto (FID against "
        f"cost) or samples (images of each block). Default: curve, or above {MOST_CURVES} "
        "blocks ranking.")] = None,
    x: Annotated[str | None, option("NAME",
        "The x axis of a curve: steps, flops or time. Default: steps.")] = None,
    paper: Annotated[bool, option(None,
        "Add a panel with the published FIDs of DiT-XL/2 on ImageNet. Only runs of the preset "
        "imagenet256, scored as the paper's, have them in their own axes.", "--paper")] = False,
) -> None:  # fmt: skip
    """Draw FID against training or cost for each block, or the samples of all blocks.

    Figures show scores, not ratios: they have no baseline. A ranking marks what is significantly
    worse than the leader.
    """
    _check_fit(kind, x, runs.evaluation, paper=paper)

    from ditbench.report.figures.curve import curve_figure
    from ditbench.report.figures.pareto import pareto_figure
    from ditbench.report.figures.ranking import ranking_figure
    from ditbench.report.figures.samples import samples_figure
    from ditbench.report.figures.save import save_figure
    from ditbench.report.reading.groups import split_groups

    rows = runs.load()
    if kind is None and x is None:
        most = max((group["block"].nunique() for group in split_groups(rows)), default=0)
        kind = "ranking" if runs.evaluation is not None or most > MOST_CURVES else "curve"
    skipped: dict[str, None] = {}  # once each, although a figure may be drawn twice
    skip = skipped.setdefault
    draw = {
        "curve": lambda: curve_figure(rows, x or "steps", paper=paper, skipped=skip),
        "ranking": lambda: ranking_figure(rows, paper=paper),
        "pareto": lambda: pareto_figure(rows, paper=paper, skipped=skip),
        "samples": lambda: samples_figure(rows, skip),
    }
    save_figure(draw[kind or "curve"], output, partial(note, "warning"))
    for text in skipped:
        note("skipped", text)
    echo_path(output)


def _check_fit(kind: str | None, x: str | None, evaluation: str | None, *, paper: bool) -> None:
    """Raise a DitbenchError for an unknown kind, or an option that a kind does not have."""
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of plot", kind, KINDS)
    if x is not None and kind not in (None, "curve"):
        what = f"--x {x} does not fit --kind {kind}: only a curve has an x axis to choose"
        raise DitbenchError(what, "leave out --x, or use --kind curve")
    if paper and kind == "samples":
        what = "--paper does not fit --kind samples: the published numbers are FIDs"
        raise DitbenchError(what, "leave out --paper, or use --kind curve, ranking or pareto")
    if evaluation is not None and (kind in ("curve", "samples") or x is not None):
        raise DitbenchError(
            f"--eval does not fit --kind {kind or 'curve'}: it has scores of the final model only",
            "leave out --eval, or use --kind ranking or pareto",
        )
