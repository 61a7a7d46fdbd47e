"""`--dry-run`: what would be run, and how long it would take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from ditbench.report.amounts import decimals, significant
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import rich_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.table import Table

    from ditbench.runs.plan import Plan

CONVENTION = "Training FLOPs = 3 x 2 x forward MACs x images. Expected times, without scoring."

_numbers = "{}".format
_whole = decimals(0)
COLUMNS = (
    Column("block", "Block"),
    Column("lr", "Learning rate", "{:g}".format),
    Column("seed", "Seed", _numbers),
    Column("steps", "Steps", _numbers),
    Column("images", "Images", _numbers),
    Column("train_flops", "Training PFLOPs", _numbers),
    Column("evaluated_at", "Evaluated at", _numbers),
    Column("expected_train_seconds", "Train", _numbers),
    Column("expected_total_seconds", "Total", _numbers),
    Column("path", "Run directory"),
)
_ESTIMATED: dict[str, Callable[[Any], str]] = {
    "steps": _whole,
    "images": _whole,
    "train_flops": significant(3, 1, 1e-15),
}
_EXPECTED = ("expected_train_seconds", "expected_total_seconds")


def print_forecast(plans: list[Plan], *, as_json: bool, quiet: bool) -> None:
    """Print what would be run, and how long it would take. Nothing is written."""
    from ditbench.cli.output import print_rich
    from ditbench.runs.calibrate import forecast

    def say(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    rows = list(forecast(plans, say))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_rich(forecast_table(plans[0], rows))


def forecast_table(first: Plan, rows: list[dict[str, Any]]) -> Table:
    """Rows of `forecast` as a table; estimated numbers have a ~ before them."""
    title = (
        f"{first.cost.model} on {first.dataset.name} {first.cost.input}, on {first.device}, "
        f"{first.config.objective.name}\n{CONVENTION}"
    )
    if compiled := dict.fromkeys(row["block"] for row in rows if row["backend"] != "plain"):
        title += f"\nCompiled, which takes tens of seconds more: {', '.join(compiled)}."
    if any(row["estimated"] for row in rows):
        title += "\n~ is estimated from the speed in a short calibration."
    rates = {row["lr"] for row in rows}
    columns = [column for column in COLUMNS if column.name != "lr" or len(rates) > 1]
    return rich_table([_in_words(row) for row in rows], columns, title)


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    mark = "~" if row["estimated"] else ""
    texts = {name: mark + write(row[name]) for name, write in _ESTIMATED.items()}
    times = {name: None if row[name] is None else duration(row[name]) for name in _EXPECTED}
    steps, seconds = row["evaluation_steps"], row["evaluation_seconds"]
    evaluated = _first_to_last(steps, _whole) if steps else _first_to_last(seconds, duration)
    path = row["path"] + (" (complete)" if row["complete"] else "")
    return {**row, **texts, **times, "evaluated_at": evaluated, "path": path}


def _first_to_last(marks: list[float], write: Callable[[float], str]) -> str:
    """The first and the last of evenly spaced marks."""
    return " … ".join(write(mark) for mark in dict.fromkeys((marks[0], marks[-1])))


def duration(seconds: float) -> str:
    """`5.2s`, `58s`, `9m40s`, `2h5m`: at most two units, as --time reads it."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole}s"
    big, small, names = (60, 1, "ms") if whole < 3600 else (3600, 60, "hm")
    parts = (whole // big, whole % big // small)
    return "".join(f"{part}{name}" for part, name in zip(parts, names, strict=True) if part)
