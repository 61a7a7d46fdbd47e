"""`ditbench compare`: one row per block, how certain its difference is, and a verdict."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.options import Evaluation, Format, Only, Output, Results, option
from ditbench.cli.output import echo, emit, emit_text, load_runs, note, print_sentence, print_table
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.report.tables.columns import (
    DIFF_COLUMNS,
    PLAN_COLUMNS,
    comparison_columns,
    comparison_rows,
    plan_rows,
)
from ditbench.report.tables.render import format_of, render, render_comparisons
from ditbench.report.verdict_words import planning_sentence

if TYPE_CHECKING:
    from ditbench.report.statistics.compare import Comparison
    from ditbench.report.statistics.gate import Gate

_what = partial(option, rich_help_panel="What is compared")
_instead = partial(option, rich_help_panel="Instead of a comparison")


def compare(
    directories: Results = None,
    block: Only = None,
    evaluation: Evaluation = None,
    baseline: Annotated[
        str | None,
        _what("NAME", "The block that differences refer to. Default: in-context, if it was run."),
    ] = None,
    target_fid: Annotated[
        float | None, _what("FID", "Show the steps, compute and seconds to reach this FID.")
    ] = None,
    fail_if: Annotated[
        str | None,
        _what("CONDITION", "Exit with 1 if it is true of a block: 'fid > 1.05 * baseline'."),
    ] = None,
    together: Annotated[
        bool, _what(None, "One ranking; an error if the runs are not comparable.", "--together")
    ] = False,
    force: Annotated[
        bool,
        _what(None, "One ranking, marked as forced if the runs are not comparable.", "--force"),
    ] = False,
    diff: Annotated[
        tuple[Path, Path] | None,
        _instead("A B", "Show what differs between two run directories."),
    ] = None,
    plan: Annotated[
        bool, _instead(None, "Show how many seeds it takes to name a winner.", "--plan")
    ] = False,
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Compare blocks over seeds: cost, FID and other metrics, and which block is best.

    Runs that are not comparable, because they differ in data, model, budget, evaluation ...,
    get separate tables.
    """
    # A gate that is not checked must not seem to pass.
    unused = {
        "--baseline": baseline, "--target-fid": target_fid, "--fail-if": fail_if,
        "--force": force or None,
    }  # fmt: skip
    if diff is not None:
        only = {
            "a directory": directories or None, "--block": block, "--eval": evaluation,
            "--together": together or None,
        }  # fmt: skip
        _refuse("--diff", {**only, "--plan": plan or None, **unused})
        from ditbench.report.reading.results import diff_runs

        rows = diff_runs(*diff)
        emit(rows, DIFF_COLUMNS, format, output)
        if not rows:
            echo("no difference in configuration or environment", err=True)
        return
    if plan:
        _refuse("--plan", unused)
    # An evaluation has scores of the final model only.
    _refuse("--eval", {} if evaluation is None else {"--target-fid": target_fid})
    from ditbench.report.statistics.compare import NotComparableError, compare_groups
    from ditbench.report.statistics.compare import compare as compare_runs
    from ditbench.report.statistics.gate import parse_gate

    chosen = format_of(output, format)
    gate = parse_gate(fail_if) if fail_if is not None else None
    runs = load_runs(directories, block, evaluation)
    if together or force:
        try:
            comparisons = [compare_runs(runs, baseline, target_fid=target_fid, force=force)]
        except NotComparableError as error:  # its hint is for Python
            hint = "leave out --together for a table per group, or use --force"
            raise DitbenchError(error.message, hint) from error
    else:
        comparisons = compare_groups(runs, baseline, target_fid=target_fid)
    if plan:
        _print_plans(comparisons, chosen, output)
        return
    failures = [] if gate is None else _failures(gate, comparisons)
    if chosen == "rich":
        _print(comparisons)
    else:
        emit_text(render_comparisons(comparisons, chosen), output)
    for failure in failures:
        note("failed", failure)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _refuse(option: str, unused: Mapping[str, object]) -> None:
    """A DitbenchError if an option is given (not None) that another one does not use."""
    for name, value in unused.items():
        if value is not None:
            raise DitbenchError(f"{option} does not use {name}", f"leave {name} out")


def _failures(gate: "Gate", comparisons: "list[Comparison]") -> list[str]:
    """The rows that fail the gate, one line each."""
    lines = []
    for comparison in comparisons:
        group = f" ({comparison.apart_in_words})" if comparison.apart else ""
        for failure in gate.check(comparison):
            values = ", ".join(f"{name} {value:.6g}" for name, value in failure.values.items())
            lines.append(f"{failure.block}{group}: {failure.reason} ({values})")
    return lines


def _print(comparisons: "list[Comparison]") -> None:
    for number, comparison in enumerate(comparisons):
        if number:
            echo()
        rows, columns = comparison_rows(comparison), comparison_columns(comparison)
        print_table(rows, columns, comparison.heading)
        for text in filter(None, (comparison.note, comparison.sentence, comparison.advice)):
            print_sentence(text)


def _print_plans(comparisons: "list[Comparison]", chosen: str, output: Path | None) -> None:
    """How many seeds each group needs. Groups that do not show their scatter are left out."""
    planned = [(each, each.planning) for each in comparisons if each.planning is not None]
    if not planned and any(each.decided_by != "fid" for each in comparisons):
        raise DitbenchError(
            "seeds are planned by FID, for which these images are few",
            "more seeds: --seeds; more samples: --set eval.samples=10000",
        )
    if not planned:
        raise DitbenchError(
            "no two blocks share two seeds, which would show how much their FID scatters",
            "run some first: `ditbench run --block paper --seeds 3`",
        )
    if chosen != "rich":
        rows = [row for comparison, _ in planned for row in plan_rows(comparison)]
        emit_text(render(rows, PLAN_COLUMNS, chosen), output)
        return
    for number, (comparison, planning) in enumerate(planned):
        if number:
            echo()
        print_table(plan_rows(comparison), PLAN_COLUMNS, comparison.heading)
        print_sentence(planning_sentence(planning))
