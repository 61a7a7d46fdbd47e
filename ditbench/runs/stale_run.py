"""Finds an unfinished run of an external block whose file was edited since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.config import read_toml
from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan


def stale_run(run: Plan) -> RunDirectory | None:
    """An incomplete run with the same file and seed, but with other contents of the file."""
    now = run.config.strategy
    if now.location is None:
        return None
    for path in sorted(run.directory.path.parent.glob(f"seed{run.config.seed}-*")):
        other = RunDirectory(path)
        if other.is_complete() or not other.config.is_file():
            continue
        try:
            then = read_toml(other.config).get("strategy", {})
        except DitbenchError:  # a damaged file is reported where that run is read
            continue
        if not isinstance(then, dict) or then.get("location") != now.location:
            continue
        if then.get("sha256") != now.sha256:
            return other
    return None
