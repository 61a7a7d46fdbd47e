"""Whether a strategy that is not ditbench's own was edited under a run that has not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.config import read_toml
from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan


def unfinished_before_an_edit(run: Plan) -> RunDirectory | None:
    """A run of the same file and seed that stopped half-way, when the file was another."""
    now = run.config.strategy
    if now.location is None:
        return None
    for path in sorted(run.directory.path.parent.glob(f"seed{run.config.seed}-*")):
        other = RunDirectory(path)
        if other.is_complete() or not other.config.is_file():
            continue
        try:
            then = read_toml(other.config).get("strategy", {})
        except DitbenchError:  # damaged: that is told where it is read for its own sake
            continue
        if not isinstance(then, dict) or then.get("location") != now.location:
            continue
        if then.get("sha256") != now.sha256:
            return other
    return None
