"""The ratio of each block to the leader, with its interval, along one logarithmic axis."""

from __future__ import annotations

import math
from typing import NamedTuple

from ditbench.report.statistics.verdict import Rival, Verdict

# Ratios that the axis may be marked at, besides 1.
_TICKS = (0.5, 0.8, 0.9, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000)
_APART = 13.0  # percent of the width that a mark needs
_EDGE = 4.0  # percent that stay free at both ends


class Forest(NamedTuple):
    """Places in percent of the width."""

    ticks: list[tuple[str, float]]  # text and place; the first is that of 1, the leader
    points: dict[str, tuple[float, float, float]]  # by block: the ratio, and its interval's ends


def forest(verdict: Verdict | None) -> Forest | None:
    """Place the rivals of a verdict beside its leader; None if there are none, or no ratios.

    Intervals are those of the verdict: for one test each if it has a best block, or else corrected.
    """
    if verdict is None or not verdict.rivals or verdict.scale != "log":
        return None
    found = {each.block: _ratio(each, is_best=bool(verdict.best)) for each in verdict.rivals}
    found = {verdict.leader: (1.0, 1.0, 1.0)} | {k: v for k, v in found.items() if v[0] > 0}
    ratios = [ratio for ratio, _, _ in found.values()]
    # Of two seeds, an interval may be endless.
    least, most = min(ratios) / 2, max(ratios) * 2
    ends = [min(max(end, least), most) for point in found.values() for end in point]
    low, high = math.log(min(ends)), math.log(max(*ends, 1.02 * min(ends)))

    def place(ratio: float) -> float:
        share = (math.log(min(max(ratio, least), most)) - low) / (high - low)
        return round(_EDGE + share * (100 - 2 * _EDGE), 2)

    ticks = [("1", place(1.0))]
    for tick in _TICKS:
        where = place(tick)
        inside = low <= math.log(tick) <= high
        if inside and all(abs(where - other) >= _APART for _, other in ticks):
            ticks.append((f"{tick:g}", where))
    return Forest(ticks, {b: (place(r), place(lo), place(hi)) for b, (r, lo, hi) in found.items()})


def _ratio(rival: Rival, *, is_best: bool) -> tuple[float, float, float]:
    """A rival's ratio to the leader, and the ends of its interval: the ratio if there is none."""
    pair = rival.paired
    interval = pair.uncorrected if is_best else pair.ratio_interval
    if math.isnan(pair.ratio):
        return 0.0, 0.0, 0.0
    low, high = (pair.ratio if math.isnan(end) else end for end in interval)
    return pair.ratio, max(low, 1e-9), high
