"""Run directories to one tidy DataFrame. Damaged runs are skipped and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, one_line, unknown_name
from ditbench.models.registry import block_names, group_names
from ditbench.report.facts import FACTS, FIRST_METRICS, MetricFacts
from ditbench.report.reading.find import find_runs
from ditbench.report.reading.run import read_run
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from ditbench.report.reading.fields import Row

    Run = list[Row]
    Skipped = list[tuple[str, str]]

_HINT = "`ditbench run --block adaln-zero` makes one"


def load_results(path: str | Path, blocks: str | Iterable[str] | None = None) -> pd.DataFrame:
    """Read every complete run at or below a directory, except for learning-rate sweeps below it.

    Args:
        path: a results directory, or one run directory.
        blocks: names of blocks, or of groups of blocks such as `paper`; a text may hold several,
            separated by commas. None reads all.

    Returns:
        One row per evaluation, ordered by run path, then step. The columns are the `FACTS` of
        `ditbench.report.facts` and one per metric; docs/api.md describes them.
        `attrs["skipped"]` is a list of (path, reason) of the runs that are incomplete, damaged, or
        older duplicates (same block, seed and fingerprint).

    Raises:
        DitbenchError: no such directory, no complete and readable run in it, or none of a block.
    """
    import pandas as pd

    root = Path(path)
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise DitbenchError(f"{root} {what}", _HINT)
    runs: list[Run] = []
    skipped: Skipped = []
    for run in find_runs(root):
        try:
            runs.append(read_run(run))
        except DitbenchError as error:
            skipped.append((one_line(str(run.path)), one_line(error.message)))
    runs = _newest(runs, skipped)
    if not runs:
        raise _nothing_in(root, skipped)
    _name_versions(runs)
    if blocks is not None:
        runs = _of_blocks(runs, blocks.split(",") if isinstance(blocks, str) else blocks)
    rows = [row for run in runs for row in run]
    dtypes = {fact.name: fact.dtype for fact in FACTS}
    dtypes |= {metric.name: "float64" for metric in metrics_of(run[0]["metrics"] for run in runs)}
    frame = pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=dtype)
            for name, dtype in dtypes.items()
        }
    )
    frame.attrs["skipped"] = skipped
    return frame


def metrics_of(texts: Iterable[str]) -> list[MetricFacts]:
    """The metrics of several runs, each once: those of the first schema, then the others.

    Args:
        texts: the column `metrics` of their rows.
    """
    described = (each for text in dict.fromkeys(texts) for each in json.loads(text))
    found = {each["name"]: MetricFacts(**each) for each in described}
    first = [metric.name for metric in FIRST_METRICS if metric.name in found]
    return [found[name] for name in dict.fromkeys([*first, *found])]


def _of_blocks(runs: list[Run], names: Iterable[str]) -> list[Run]:
    """The runs of some blocks, or of the members of groups that were run."""
    present = list(dict.fromkeys(run[0]["block"] for run in runs))
    chosen: set[str] = set()
    for name in map(str.strip, names):
        members = block_names(name) if name in group_names() else [name]
        found = set(members) & set(present)
        if not found:
            raise unknown_name("block among these runs", name, [*present, *group_names()])
        chosen |= found
    return [run for run in runs if run[0]["block"] in chosen]


def _nothing_in(root: Path, skipped: Skipped) -> DitbenchError:
    message = f"no complete run in {root}"
    if skipped:
        message += f" ({len(skipped)} skipped; the first, {skipped[0][0]}: {skipped[0][1]})"
    return DitbenchError(message, _HINT)


def _name_versions(runs: list[Run]) -> None:
    """Add the source's SHA-256 to the names of blocks that have several: `MyBlock@3f2a91c0`."""
    sources: dict[str, set[str]] = {}
    for run in runs:
        sources.setdefault(run[0]["block"], set()).add(run[0]["source_sha256"])
    for row in (row for run in runs for row in run):
        if len(sources[row["block"]]) > 1 and row["source_sha256"]:
            row["block"] = f"{row['block']}@{row['source_sha256'][:8]}"


def _newest(runs: list[Run], skipped: Skipped) -> list[Run]:
    """The newest run of each block, seed and fingerprint; the others are added to `skipped`."""
    kept: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=_written):
        key = (run[0]["block"], run[0]["seed"], run[0]["fingerprint"])
        if older := kept.get(key):
            reason = f"duplicate: {run[0]['path']} is newer"
            skipped.append((one_line(older[0]["path"]), one_line(reason)))
        kept[key] = run
    return sorted(kept.values(), key=lambda run: run[0]["path"])


def _written(run: Run) -> int:
    return RunDirectory(Path(run[0]["path"])).result.stat().st_mtime_ns
