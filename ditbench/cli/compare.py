"""`ditbench compare`: one row a block, how sure its difference is, and a verdict."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ditbench.cli.options import Format, Only, Output, Results
from ditbench.cli.output import emit, emit_text, load_runs, print_sentence, print_table
from ditbench.errors import EXIT_FAILED, DitbenchError

if TYPE_CHECKING:
    import pandas as pd

    from ditbench.report.compare import Comparison
    from ditbench.report.gate import Gate

_what = partial(typer.Option, rich_help_panel="What is compared")
_instead = partial(typer.Option, rich_help_panel="Instead of a comparison")


def compare(
    directory: Results = None,
    block: Only = None,
    baseline: Annotated[
        str | None,
        _what(
            metavar="NAME",
            help="The block that differences refer to. Default: in-context, if it is there.",
        ),
    ] = None,
    target_fid: Annotated[
        float | None,
        _what(metavar="FID", help="Tell steps, compute and seconds to reach this FID."),
    ] = None,
    fail_if: Annotated[
        str | None,
        _what(
            metavar="CONDITION",
            help="Exit with 1 if it is true of a block: 'fid > 1.05 * baseline'.",
        ),
    ] = None,
    together: Annotated[
        bool, _what("--together", help="One ranking; refused where runs are not alike.")
    ] = False,
    force: Annotated[
        bool, _what("--force", help="One ranking of runs that are not alike, and marked so.")
    ] = False,
    diff: Annotated[
        tuple[Path, Path] | None,
        _instead(metavar="A B", help="Tell in what two run directories differ."),
    ] = None,
    self_test: Annotated[
        bool, _instead("--self-test", help="Measure how often the verdict is wrong.")
    ] = False,
    format: Format = None,  # noqa: A002
    output: Output = None,
) -> None:
    """Compare blocks over seeds: cost, FID, KID, label accuracy, and who leads, how surely.

    Runs that are not alike (in data, model, budget, evaluation ...) get tables of their own.
    """
    _refuse_unused(
        {"--diff": diff is not None, "--self-test": self_test},
        {
            "a directory": directory is not None and diff is not None,
            "--diff": diff is not None and self_test,
            "--block": block is not None and diff is not None,
            "--baseline": baseline is not None,
            "--target-fid": target_fid is not None,
            "--fail-if": fail_if is not None,
            "--together": together,
            "--force": force,
        },
    )
    if diff is not None:
        _tell_difference(diff, format, output)
        return
    from ditbench.report.gate import parse_gate
    from ditbench.report.tables import format_of

    chosen = format_of(output, format)
    gate = parse_gate(fail_if) if fail_if is not None else None
    runs = load_runs(directory, block)
    if self_test:
        _test_verdict(runs, format, output)
        return
    comparisons = _comparisons(runs, baseline, target_fid, together=together, force=force)
    failures = [] if gate is None else _failures(gate, comparisons)
    _tell(comparisons, chosen, output)
    for failure in failures:
        typer.secho("failed: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(failure, err=True)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _refuse_unused(instead: dict[str, bool], others: dict[str, bool]) -> None:
    """A gate, say, that is not looked at must not seem to have passed."""
    unused = [name for name, given in others.items() if given]
    for name, given in reversed(instead.items()):
        if given and unused:
            raise DitbenchError(f"{name} makes no use of {unused[0]}", f"leave {unused[0]} out")


def _failures(gate: "Gate", comparisons: "list[Comparison]") -> list[str]:
    """The rows that the gate refuses, a line each."""
    lines = []
    for comparison in comparisons:
        group = f" ({comparison.apart_in_words})" if comparison.apart else ""
        for failure in gate.check(comparison):
            values = ", ".join(f"{name} {value:.6g}" for name, value in failure.values.items())
            lines.append(f"{failure.block}{group}: {failure.reason} ({values})")
    return lines


def _comparisons(
    runs: "pd.DataFrame",
    baseline: str | None,
    target_fid: float | None,
    *,
    together: bool,
    force: bool,
) -> "list[Comparison]":
    from ditbench.report.compare import compare as compare_runs
    from ditbench.report.compare import compare_groups

    if not (together or force):
        return _with_sweeps(compare_groups(runs, baseline, target_fid=target_fid), runs)
    return [compare_runs(runs, baseline, target_fid=target_fid, force=force)]


def _with_sweeps(comparisons: "list[Comparison]", runs: "pd.DataFrame") -> "list[Comparison]":
    """Add to each sentence what the sweeps beside its runs say of the order of blocks."""
    from ditbench.report.groups import split_groups
    from ditbench.report.sweep_order import orders_in_sweeps

    orders = orders_in_sweeps(split_groups(runs))
    return [
        replace(comparison, sentence=f"{comparison.sentence} {order}".strip())
        for comparison, order in zip(comparisons, orders, strict=True)
    ]


def _tell(comparisons: "list[Comparison]", chosen: str, output: Path | None) -> None:
    from ditbench.report.tables import (
        comparison_columns,
        comparison_rows,
        render_comparisons,
    )

    if chosen != "rich":
        emit_text(render_comparisons(comparisons, chosen), output)
        return
    for number, comparison in enumerate(comparisons):
        if number:
            typer.echo()
        rows, columns = comparison_rows(comparison), comparison_columns(comparison)
        print_table(rows, columns, comparison.heading)
        if comparison.note:
            print_sentence(comparison.note)
        print_sentence(comparison.sentence)


def _tell_difference(
    diff: tuple[Path, Path],
    format: str | None,  # noqa: A002
    output: Path | None,
) -> None:
    from ditbench.report.rundiff import COLUMNS, diff_runs

    rows = diff_runs(*diff)
    emit(rows, COLUMNS, format, output)
    if not rows:
        typer.echo("no difference in configuration or environment", err=True)


def _test_verdict(
    runs: "pd.DataFrame",
    format: str | None,  # noqa: A002
    output: Path | None,
) -> None:
    from ditbench.report.selftest import COLUMNS, is_calibrated, self_test, sentence

    rows = self_test(runs)
    emit(rows, COLUMNS, format, output)
    typer.echo(sentence(rows), err=format is not None or output is not None)
    if not is_calibrated(rows):
        raise typer.Exit(EXIT_FAILED)
