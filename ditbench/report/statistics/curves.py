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
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

# From a column of `load_results` to the column of a comparison: its value at the target FID.
TO_TARGET = {
    "step": "steps_to_target",
    "train_flops": "train_flops_to_target",
    "seconds": "seconds_to_target",
}


def fid_area(runs: pd.DataFrame) -> pd.Series[float]:
    """The area under the FID curve of each run, divided by its length; lower is better.

    The trapezoidal rule from the first evaluation to the last, divided by the steps between them:
    a mean FID, which is the same along steps, images and compute. NaN for a single evaluation.

    Args:
        runs: rows of `load_results`.

    Returns:
        One value per run, indexed by its path.
    """
    ordered = runs.sort_values(["path", "step"])
    before = ordered.groupby("path")[["step", "fid"]].shift()
    trapezoids = (ordered["step"] - before["step"]) * (ordered["fid"] + before["fid"]) / 2
    by_run = ordered.groupby("path")["step"]
    span = by_run.max() - by_run.min()
    return trapezoids.groupby(ordered["path"]).sum() / span.where(span > 0)


def to_target(runs: pd.DataFrame, target: float) -> pd.DataFrame:
    """Steps, compute and training seconds at which the FID of each run first reaches `target`.

    Between two evaluations, FID is interpolated geometrically. For a run whose first evaluation is
    at or below the target, the values of that evaluation are an upper bound.

    Args:
        runs: rows of `load_results`.
        target: an FID.

    Returns:
        One row per run, indexed by its path, with the columns in `TO_TARGET`; NaN if the target
        was not reached.

    Raises:
        DitbenchError: the target is not a positive number.
    """
    import pandas as pd

    if not (math.isfinite(target) and target > 0):
        raise DitbenchError(f"a target FID of {target:g} cannot be reached", "use a value above 0")
    ordered = runs.sort_values(["path", "step"])
    columns = [*TO_TARGET, "fid"]
    before = ordered.groupby("path")[columns].shift().fillna(ordered[columns])
    at_target = ordered["fid"] <= target
    first = at_target & (at_target.groupby(ordered["path"]).cumsum() == 1)
    high, low = before.loc[first, "fid"].to_numpy(), ordered.loc[first, "fid"].to_numpy()
    share = _share(high, low, target)
    reached = pd.DataFrame(
        {
            name: before.loc[first, column] + share * (ordered[column] - before[column])[first]
            for column, name in TO_TARGET.items()
        }
    ).set_axis(ordered.loc[first, "path"])
    return reached.reindex(pd.Index(ordered["path"].unique(), name="path"))


def _share(high: Values, low: Values, target: float) -> Values:
    """The position of the target between `high` (0) and `low` (1) on a logarithmic scale."""
    share = np.ones_like(low)
    falls = (low > 0) & (high > low)  # false at a first evaluation, and where there is no logarithm
    share[falls] = np.log(high[falls] / target) / np.log(high[falls] / low[falls])
    return share
