"""FID along training in numbers: the area under its curve, and what it took to reach a value.

The final FID alone does not tell a block that starts slowly and ends first from one that leads all
along.
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

# The column of `--x`, and that of a row of a comparison that says what reaching a FID took.
TO_TARGET = {
    "step": "steps_to_target",
    "train_flops": "train_flops_to_target",
    "seconds": "seconds_to_target",
}


def fid_area(runs: pd.DataFrame) -> pd.Series[float]:
    """The area under the FID curve of each run, as a mean FID: lower is better.

    Trapezoids from the first evaluation to the last, over the steps between them. Divided so, it is
    the same along steps, images and compute, and of a size with FID. NaN for a single evaluation.

    Args:
        runs: rows of `load_results`.

    Returns:
        One value a run, by its path.
    """
    ordered = runs.sort_values(["path", "step"])
    before = ordered.groupby("path")[["step", "fid"]].shift()
    trapezoids = (ordered["step"] - before["step"]) * (ordered["fid"] + before["fid"]) / 2
    by_run = ordered.groupby("path")["step"]
    span = by_run.max() - by_run.min()
    return trapezoids.groupby(ordered["path"]).sum() / span.where(span > 0)


def to_target(runs: pd.DataFrame, target: float) -> pd.DataFrame:
    """Steps, compute and training seconds at which the FID of each run first is `target` or less.

    Between two evaluations FID is taken to fall by equal factors in equal steps. A run that is
    there at its first evaluation counts as that evaluation: it was there at the latest then.

    Args:
        runs: rows of `load_results`.
        target: a FID.

    Returns:
        One row a run, by its path, with the columns `TO_TARGET`; NaN where it was never reached.

    Raises:
        DitbenchError: the target is not above 0.
    """
    import pandas as pd

    if not (math.isfinite(target) and target > 0):
        raise DitbenchError(f"a target FID of {target:g} cannot be reached", "name one above 0")
    ordered = runs.sort_values(["path", "step"])
    columns = [*TO_TARGET, "fid"]
    before = ordered.groupby("path")[columns].shift().fillna(ordered[columns])
    there = ordered["fid"] <= target
    first = there & (there.groupby(ordered["path"]).cumsum() == 1)
    high, low = before.loc[first, "fid"].to_numpy(), ordered.loc[first, "fid"].to_numpy()
    part = _part(high, low, target)
    reached = pd.DataFrame(
        {
            name: before.loc[first, column] + part * (ordered[column] - before[column])[first]
            for column, name in TO_TARGET.items()
        }
    ).set_axis(ordered.loc[first, "path"])
    return reached.reindex(pd.Index(ordered["path"].unique(), name="path"))


def _part(high: Values, low: Values, target: float) -> Values:
    """How far along from `high` to `low` the target lies, on a logarithmic scale, in 0..1."""
    part = np.ones_like(low)
    falls = (low > 0) & (high > low)  # else no logarithm, or the first evaluation
    part[falls] = np.log(high[falls] / target) / np.log(high[falls] / low[falls])
    return part
