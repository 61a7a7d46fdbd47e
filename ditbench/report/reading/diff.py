"""What differs between two runs: configuration keys and facts of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.config import read_toml
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.report.reading.fields import flatten
from ditbench.report.reading.find import find_runs

if TYPE_CHECKING:
    from ditbench.rundir import RunDirectory


def diff_runs(a: str | Path, b: str | Path) -> list[dict[str, Any]]:
    """The facts in which two runs differ.

    Args:
        a: a run directory, or a directory with one run in it.
        b: another.

    Returns:
        Rows of `source` (`config` or `environment`), `key` (dotted), and the values `a` and `b`;
        None if the run does not have the key.

    Raises:
        DitbenchError: no run or several runs there, or files that cannot be read.
    """
    first, second = _facts(a), _facts(b)
    return [
        {"source": key[0], "key": key[1], "a": first.get(key), "b": second.get(key)}
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _facts(place: str | Path) -> dict[tuple[str, str], Any]:
    run = _one_run(Path(place))
    tables = {"config": read_toml(run.config), "environment": read_json(run.environment)}
    return {
        (source, key): value
        for source, table in tables.items()
        for key, value in flatten(table).items()
    }


def _one_run(place: Path) -> RunDirectory:
    runs = list(find_runs(place)) if place.is_dir() else []
    if len(runs) == 1:
        return runs[0]
    what = f"holds {len(runs)} runs, not one" if runs else "is not a run directory"
    raise DitbenchError(
        f"{place} {what}",
        "name two run directories: --diff results/digits/adaln/seed0-... results/digits/...",
    )
