"""What differs between two runs: configuration keys and facts of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ditbench.config import read_toml
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.report.reading.fields import flatten
from ditbench.report.reading.results import find_runs


def diff_runs(a: str | Path, b: str | Path) -> list[dict[str, Any]]:
    """The facts in which the runs in two directories differ.

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
    runs = list(find_runs(Path(place)))
    if len(runs) != 1:
        what = f"holds {len(runs)} runs, not one" if runs else "is not a run directory"
        raise DitbenchError(
            f"{place} {what}",
            "name two run directories: --diff results/digits/adaln/seed0-... results/digits/...",
        )
    config, environment = read_toml(runs[0].config), read_json(runs[0].environment)
    return {("config", key): value for key, value in flatten(config).items()} | {
        ("environment", key): value for key, value in flatten(environment).items()
    }
