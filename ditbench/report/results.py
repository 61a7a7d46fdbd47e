"""Run directories to one tidy DataFrame. A damaged run is skipped and named, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, one_line
from ditbench.find import find_runs
from ditbench.report.read import read_run
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    from ditbench.report.fields import Row

# Column -> dtype. Compute is a float because an XL/2 run passes 2**63 FLOPs; peak memory because
# it may be unknown.
COLUMNS = {
    "preset": "str",
    "block": "str",
    "seed": "int64",
    "fingerprint": "str",
    "path": "str",
    "step": "int64",
    "images": "int64",
    "train_flops": "float64",
    "seconds": "float64",
    "fid": "float64",
    "kid": "float64",
    "label_accuracy": "float64",
    "features": "str",
    "samples": "int64",
    "sampler": "str",
    "sampling_steps": "int64",
    "cfg_scale": "float64",
    "ema_decay": "float64",
    "final": "bool",
    "model": "str",
    "input": "str",
    "parameters": "int64",
    "gmacs": "float64",
    "gflops": "float64",
    "steps": "int64",
    "steps_per_second": "float64",
    "samples_per_second": "float64",
    "peak_memory_bytes": "float64",
    "device": "str",
    "train_seconds": "float64",
    "loss_spike": "float64",
    "loss_spike_step": "float64",
    "objective": "str",
    "budget": "str",
    "dataset": "str",
    "source": "str",
    "dataset_digest": "str",
    "features_digest": "str",
    "schema": "int64",
    "batch_size": "int64",
    "lr": "float64",
    "precision": "str",
    "recipe": "str",
}

_HINT = "`ditbench run --block adaln-zero` makes one"


def load_results(path: str | Path) -> pd.DataFrame:
    """Read every complete run at or below a directory, but for the sweeps of `ditbench tune` below.

    Args:
        path: a results directory, or one run directory.

    Returns:
        One row an evaluation, ordered by run path, then step; columns and dtypes as in `COLUMNS`.
        `fid` and `kid` are over `samples` images in `features` space (`kid` unscaled),
        `label_accuracy` is a share in 0..1 or NaN, `train_flops` are FLOPs, `seconds` are training
        seconds so far, `gmacs` and `gflops` are of one forward pass at batch 1, `final` marks the
        last row of its run, `loss_spike` is how many times the loss around it the worst spike of
        the training loss was and `loss_spike_step` its step, both NaN where there was none,
        `budget` is a text such as `1,200 steps` or `50 PFLOPs`, `source` is what the images are
        called (a data set, or the file or folder they came from), and `recipe` is what no other
        column tells of the configuration, as JSON. A strategy from outside of which there are runs
        of several versions is called `MyBlock@3f2a91c0`.
        `attrs["skipped"]` is a list of (path, reason): the runs that are incomplete, damaged, or
        older duplicates (same block, seed and fingerprint); both are texts that fit a line.

    Raises:
        DitbenchError: no such directory, or not one complete and readable run in it.
    """
    import pandas as pd

    root = Path(path)
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise DitbenchError(f"{root} {what}", _HINT)
    runs: list[list[Row]] = []
    skipped: list[tuple[str, str]] = []
    for run in find_runs(root):
        try:
            runs.append(read_run(run))
        except DitbenchError as error:
            skipped.append((one_line(str(run.path)), one_line(error.message)))
    runs, older = _newest(runs)
    skipped += older
    if not runs:
        raise _nothing_in(root, skipped)
    _tell_apart(runs)
    rows = [row for run in runs for row in run]
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in COLUMNS.items()}
    )
    frame.attrs["skipped"] = skipped
    return frame


def _nothing_in(root: Path, skipped: list[tuple[str, str]]) -> DitbenchError:
    message = f"no complete run in {root}"
    if skipped:
        message += f" ({len(skipped)} skipped; the first, {skipped[0][0]}: {skipped[0][1]})"
    return DitbenchError(message, _HINT)


def _tell_apart(runs: list[list[Row]]) -> None:
    """Call strategies of one name but of several sources `MyBlock@3f2a91c0`, by its SHA-256."""
    sources: dict[str, set[str]] = {}
    for run in runs:
        sources.setdefault(run[0]["block"], set()).add(run[0]["strategy"])
    for row in (row for run in runs for row in run):
        if len(sources[row["block"]]) > 1 and row["strategy"]:
            row["block"] = f"{row['block']}@{row['strategy'][:8]}"


def _newest(runs: list[list[Row]]) -> tuple[list[list[Row]], list[tuple[str, str]]]:
    """Of each block, seed and fingerprint the run whose result is newest; the others, named."""
    kept: dict[tuple[Any, ...], list[Row]] = {}
    older: list[tuple[str, str]] = []
    for run in runs:
        key = (run[0]["block"], run[0]["seed"], run[0]["fingerprint"])
        old = kept.get(key)
        if old is not None:
            if _written(old) > _written(run):
                old, run = run, old
            told = f"duplicate: {run[0]['path']} is newer"
            older.append((one_line(old[0]["path"]), one_line(told)))
        kept[key] = run
    return sorted(kept.values(), key=lambda run: run[0]["path"]), older


def _written(run: list[Row]) -> int:
    return RunDirectory(Path(run[0]["path"])).result.stat().st_mtime_ns
