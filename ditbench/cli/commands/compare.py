"""`ditbench compare`: one row per block, how certain its difference is, and a verdict."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.options.common import Runs, Table, option, refuse
from ditbench.cli.output.comparison import choose_group, print_comparisons, print_list, runs_of
from ditbench.cli.output.printing import emit_text, note, print_sentence
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.tables.columns import PLAN_COLUMNS, parse_columns, plan_rows
from ditbench.report.tables.comparisons import render_comparisons
from ditbench.report.verdict_words import planning_sentence

if TYPE_CHECKING:
    import pandas as pd

    from ditbench.report.statistics.compare import Comparison
    from ditbench.report.statistics.gate import Gate

_what = partial(option, rich_help_panel="What is compared")
_shown = partial(option, rich_help_panel="What is shown")


def compare(
    runs: Runs,
    baseline: Annotated[str | None, _what("NAME",
        "The block that differences refer to. Default: in-context, if it was run.")] = None,
    target_fid: Annotated[float | None, _what("FID",
        "Show the steps, compute and seconds to reach this FID.")] = None,
    fail_if: Annotated[str | None, _what("CONDITION",
        "Exit with 1 if it is true of a block: 'fid > 1.05 * baseline'.")] = None,
    group: Annotated[str | None, _shown("N|NAME",
        "This group of comparable runs, if there are several.")] = None,
    columns: Annotated[str | None, _shown("NAMES",
        "These columns, joined by commas: fid,kid,precision,memory,train_seconds.")] = None,
    wide: Annotated[bool, _shown(None,
        "All columns that say something, and all remarks.", "--wide")] = False,
    plan: Annotated[bool, _shown(None,
        "How many seeds it takes to name a winner, instead.", "--plan")] = False,
    together: Annotated[bool, _what(None,
        "One ranking; an error if the runs are not comparable.", "--together")] = False,
    force: Annotated[bool, _what(None,
        "One ranking, marked as forced if the runs are not comparable.", "--force")] = False,
    *, table: Table,
) -> None:  # fmt: skip
    """Compare blocks over seeds: which block is best, its cost, FID and other metrics.

    Runs that are not comparable, because they differ in data, model, budget, evaluation ...,
    form groups: the one of most runs is shown, the others are listed.
    """
    if plan:  # a gate that is not checked must not seem to pass
        refuse("--plan", {
            "--baseline": baseline, "--target-fid": target_fid, "--fail-if": fail_if,
            "--force": force or None, "--columns": columns, "--wide": wide or None,
        })  # fmt: skip
    if table.chosen in ("csv", "json"):  # they hold every column
        refuse(f"--format {table.chosen}", {"--columns": columns})
    # An evaluation has scores of the final model only.
    refuse("--eval", {} if runs.evaluation is None else {"--target-fid": target_fid})
    from ditbench.report.statistics.gate import parse_gate

    gate = parse_gate(fail_if) if fail_if is not None else None
    comparisons = _comparisons(runs.load(), baseline, target_fid, together=together, force=force)
    if group is not None:
        comparisons = [choose_group(comparisons, group)]
    if plan:
        _print_plans(comparisons, table)
        return
    failures = [] if gate is None else _failures(gate, comparisons)
    names = [] if columns is None else parse_columns(columns, comparisons)
    if table.chosen == "rich":
        print_comparisons(comparisons, names, wide=wide)
    else:
        text = render_comparisons(comparisons, table.chosen, names, wide=wide)
        emit_text(text, table.output)
    for failure in failures:
        note("failed", failure)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _comparisons(
    runs: "pd.DataFrame", baseline: str | None, target_fid: float | None,
    *, together: bool, force: bool,
) -> "list[Comparison]":  # fmt: skip
    from ditbench.report.statistics.compare import NotComparableError, compare, compare_groups

    if not (together or force):
        return compare_groups(runs, baseline, target_fid=target_fid)
    try:
        return [compare(runs, baseline, target_fid=target_fid, force=force)]
    except NotComparableError as error:  # its hint is for Python
        hint = "leave out --together for a table per group, or use --force"
        raise DitbenchError(error.message, hint) from error


def _failures(gate: "Gate", comparisons: "list[Comparison]") -> list[str]:
    """The rows that fail the gate, one line each."""
    lines = []
    for comparison in comparisons:
        group = f" ({comparison.apart_in_words})" if comparison.apart else ""
        for failure in gate.check(comparison):
            values = ", ".join(f"{name} {value:.6g}" for name, value in failure.values.items())
            lines.append(f"{failure.block}{group}: {failure.reason} ({values})")
    return lines


def _print_plans(comparisons: "list[Comparison]", table: Table) -> None:
    """How many seeds the groups need that show their scatter; on a terminal, that of most runs."""
    planned = [each for each in comparisons if each.planning is not None]
    if not planned and any(each.decided_by != "fid" for each in comparisons):
        what = "seeds are planned by FID, for which these images are few"
        raise DitbenchError(what, "more seeds: --seeds; more samples: --set eval.samples=10000")
    if not planned:
        what = "no two blocks share two seeds, which would show how much their FID scatters"
        raise DitbenchError(what, "run some first: `ditbench run --block paper --seeds 3`")
    if table.chosen != "rich":
        table.write([row for each in planned for row in plan_rows(each)], PLAN_COLUMNS)
        return
    shown = max(planned, key=runs_of)
    print_list(comparisons, shown)
    table.write(plan_rows(shown), PLAN_COLUMNS, shown.heading)
    if shown.planning is not None:
        print_sentence(planning_sentence(shown.planning))
