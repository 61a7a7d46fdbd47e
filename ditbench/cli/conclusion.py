"""The end of `ditbench run` with several blocks: their comparison, and the next command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ditbench.cli.comparison import print_comparisons
from ditbench.cli.output import echo, note

if TYPE_CHECKING:
    from ditbench.runs.planning.plan import Plan


def conclude(plans: Sequence[Plan], *, quiet: bool) -> None:
    """Print what `ditbench compare` prints for these runs alone, if they are of several blocks."""
    if len({plan.config.block for plan in plans}) < 2:
        return
    from ditbench.report.reading.results import load_results
    from ditbench.report.statistics.compare import compare_groups

    paths = [plan.directory.path for plan in plans]
    runs = load_results(paths)
    for path, reason in runs.attrs["skipped"]:
        note("skipped", f"{path}: {reason}")
    echo()
    print_comparisons(compare_groups(runs))
    if not quiet:
        place = shlex.quote(os.path.commonpath(paths))
        echo(f"next: ditbench plot {place} -o curve.png", err=True)
