"""The metrics that an unfinished run began with: it ends with them, in the same versions."""

from __future__ import annotations

from collections.abc import Mapping

from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory, metric_suffix

RECORD = "metrics"  # the key in env.json: the version of each metric, by name
# The metrics of runs without that record, all of version 1.
FIRST = ("fid", "kid", "label_accuracy")


def begun_metrics(directory: RunDirectory) -> dict[str, int] | None:
    """The versions of the metrics in a run's tables, by name; None if they are free to choose.

    Raises a DitbenchError if eval.csv cannot be read, or the record is damaged.
    """
    if not directory.checkpoints:
        return None
    facts = directory.facts()  # without them, what is asked for has to fit the tables
    if RECORD in facts:
        record = facts[RECORD]
        if isinstance(record, dict) and all(type(value) is int for value in record.values()):
            return record
        what = f"{directory.environment}: {RECORD} is not a table of versions"
        raise DitbenchError(what, "move the run directory away and run it again")
    rows = directory.read_evaluations() if facts else []
    if not rows:
        return None
    suffix = f"_{metric_suffix(rows[0]['samples'])}"
    return {name: 1 for name in FIRST if name in rows[0] or name + suffix in rows[0]}


def changed(begun: Mapping[str, int], asked: Mapping[str, int]) -> str:
    """How the metrics of a run differ from those asked for now, in words; empty if they agree."""
    lacking = [name for name in asked if name not in begun]
    others = [name for name in begun if name not in asked]
    others += [f"{name} of version {n}" for name, n in begun.items() if asked.get(name, n) != n]
    parts = [("without ", lacking), ("with ", others)]
    return "; ".join(word + ", ".join(names) for word, names in parts if names)
