"""One row per block: means over its seeds, and the block beside the baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ditbench.errors import DitbenchError
from ditbench.report.facts import INFERRED
from ditbench.report.reading import groups
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.statistics.curves import fid_area, to_target
from ditbench.report.statistics.looks import SeedPlan
from ditbench.report.statistics.paired import Values, beside, fitting_scale, mean_interval

if TYPE_CHECKING:
    import pandas as pd


def by_seed(final: pd.DataFrame, blocks: list[str], column: str) -> Values:
    """(B, S) final values of a column; NaN if a block lacks a seed."""
    twice = final[final.duplicated(["block", "seed"], keep=False)]
    if not twice.empty:
        first = twice.iloc[0]
        raise DitbenchError(
            f"two runs of {first['block']}, seed {first['seed']}: {', '.join(twice['path'])}",
            "load_results keeps the newest of each: give compare what it returns",
        )
    values = final.pivot(index="block", columns="seed", values=column).loc[blocks]
    return values.to_numpy(dtype=np.float64)


def block_means(
    df: pd.DataFrame, metrics: list[MetricFacts], target_fid: float | None
) -> pd.DataFrame:
    """One row per block: means over its seeds, their spread, and what its curves say."""
    curve = df[df["curve"]]
    final = df[df["final"]].set_index("path").assign(fid_area=fid_area(curve))
    grouped = final.groupby("block")
    timed = ["train_seconds", "steps_per_second"]
    names = [metric.name for metric in metrics]
    means = ["steps", "train_flops", "fid_area", *names, *timed, "peak_memory_bytes"]
    table = grouped[means].mean()
    table[["model", "parameters", "gmacs"]] = grouped[["model", "parameters", "gmacs"]].first()
    table["seeds"] = grouped["seed"].nunique()
    table["fid_std"] = grouped["fid"].std()
    table["loss_spikes"] = grouped["loss_spike"].count()
    # A mean over the seeds that have a metric would not be of the same runs as its neighbours.
    table[names] = table[names].where(grouped[names].count().eq(grouped.size(), axis=0))
    table[["fid_low", "fid_high"]] = [mean_interval(fid.to_numpy()) for _, fid in grouped["fid"]]
    if target_fid is not None:
        reaching = to_target(curve, target_fid).groupby(final["block"])
        reached = reaching["steps_to_target"].count()
        # The mean of those that reached it would favor a block for the seeds that did not.
        mean = reaching.mean().where(reached == reaching.size())
        table = table.assign(**mean, reached_target=reached)
        timed.append("seconds_to_target")
    if groups.why_times_differ(final):
        table[timed] = math.nan  # a mean over different conditions means nothing
    if groups.devices_differ(final):
        table["peak_memory_bytes"] = math.nan
    return table


def beside_baseline(blocks: list[str], fids: Values, baseline: str, plan: SeedPlan) -> pd.DataFrame:
    """Each block beside the baseline: difference, ratio and test, paired by seed."""
    import pandas as pd

    pairs = beside(fids, blocks.index(baseline), fitting_scale(fids, "log"), plan.alpha)
    table = pd.DataFrame(pairs, blocks)[["n", "difference", "ratio", "p_value", "p_bonferroni"]]
    table = table.rename(columns={"n": "pairs"} | {k: f"fid_{k}" for k in ("difference", "ratio")})
    # Without an interval, equivalence is unknown.
    known = np.isfinite([pair.uncorrected.low for pair in pairs])
    table["equivalent"] = np.where(known, [pair.equivalent for pair in pairs], math.nan)
    table[list(INFERRED[:4])] = [(*p.difference_interval, *p.ratio_interval) for p in pairs]
    # Nothing is inferred about a block beside itself.
    table.loc[baseline, list(INFERRED)] = math.nan
    return table
