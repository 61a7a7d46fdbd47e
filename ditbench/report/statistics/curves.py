"""Numbers of an FID curve: the area under it, and the cost of reaching a target.

The final FID alone cannot distinguish a block that starts slowly and ends first from one that leads
throughout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ditbench.errors import DitbenchError

if TYPE_CHECKING:
    import pandas as pd

# From a column of `load_results` to the column of a comparison: its value at the target FID.
TO_TARGET = {
    "step": "steps_to_target",
    "train_flops": "train_flops_to_target",
    "seconds": "seconds_to_target",
}


def fid_area(runs: pd.DataFrame) -> pd.Series[float]:
    """The area under the FID curve of each run (by path), divided by its length; lower is better.

    The trapezoidal rule from the first evaluation to the last, divided by the steps between them:
    a mean FID, which is the same along steps, images and compute. NaN for a single evaluation.
    """
    ordered = runs.sort_values(["path", "step"])
    before = ordered.groupby("path")[["step", "fid"]].shift()
    trapezoids = (ordered["step"] - before["step"]) * (ordered["fid"] + before["fid"]) / 2
    by_run = ordered.groupby("path")["step"]
    span = by_run.max() - by_run.min()
    return trapezoids.groupby(ordered["path"]).sum() / span.where(span > 0)


def to_target(runs: pd.DataFrame, target: float) -> pd.DataFrame:
    """Steps, compute and training seconds at which the FID of each run first reaches `target`.

    Between two evaluations, FID is interpolated geometrically; those of the first one are an upper
    bound. One row per run, indexed by its path, with the columns in `TO_TARGET`; NaN if the target
    was not reached. A DitbenchError if it is not a positive number.
    """
    import pandas as pd

    if not (math.isfinite(target) and target > 0):
        raise DitbenchError(f"a target FID of {target:g} cannot be reached", "use a value above 0")
    reached = {}
    for path, run in runs.sort_values("step").groupby("path"):
        fids, values = run["fid"].to_numpy(), run[list(TO_TARGET)].to_numpy(np.float64)
        first = int((fids <= target).argmax())  # 0 if none is
        before = max(0, first - 1)
        share = 1.0 if fids[first] <= target else math.nan
        if first and fids[first] > 0:  # or else there is no logarithm
            share = np.log(fids[before] / target) / np.log(fids[before] / fids[first])
        reached[path] = values[before] + share * (values[first] - values[before])
    columns = list(TO_TARGET.values())
    return pd.DataFrame.from_dict(reached, orient="index", columns=columns).rename_axis("path")
