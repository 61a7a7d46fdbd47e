"""Loss spikes: steps at which the loss of a run was far above that of its neighbours.

A spike passes, and the last rows of a training log do not show it. But the averaged weights have
absorbed it, and evaluations soon after it use those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ditbench.errors import DitbenchError
from ditbench.files import read_text

# Rows of a training log that one of them is compared with, about an eighth of a run's.
SPAN = 25
# A spike is at least so many times their median, ...
LEAST = 1.1
# ... and so many times as far from it as the rows of its run usually are. Of the 83 reference runs
# seven have such rows, the least of them 1.14 times the median and 12 times as far. One has a row
# 1.09 times the median and 71 times as far, and all others stay below 1.07 and 8.
SCATTERS = 10.0


def read_spike(path: Path) -> dict[str, float]:
    """The worst spike in a training log (train.csv); a run may have no log.

    `loss_spike` is how many times the loss around it the worst spike is, `loss_spike_step` the last
    step of its row; NaN if there is none. A DitbenchError if the file is damaged.
    """
    times = step = math.nan
    try:
        text = read_text(path)
        header, *lines = text.splitlines()
        names = header.split(",")
        # A row ends in a newline: without one, it may have lost digits.
        if not text.endswith("\n") or text.count(",") != (len(names) - 1) * (1 + len(lines)):
            raise ValueError
        # Only the cells that count: there may be a thousand logs.
        loss = names.index("loss")
        worst = worst_spike([float(line.split(",", loss + 1)[loss]) for line in lines])
        if worst is not None:
            row, times = worst
            step = float(lines[row].split(",")[names.index("step")])
    except FileNotFoundError:
        pass
    except (ValueError, IndexError) as error:  # not UTF-8, no such column or cell, or no number
        raise DitbenchError(f"{path.name} is truncated or malformed") from error
    return {"loss_spike": times, "loss_spike_step": step}


def worst_spike(losses: Sequence[float]) -> tuple[int, float] | None:
    """The row of a training log that stands out most, if it is a spike.

    Each row is compared with the median of the `SPAN` rows around it, the last ones with that of
    the last `SPAN`. The first ones, where a loss falls steeply, are left out.

    Returns the row's number and how many times that median its loss is. A loss is NaN in a row
    without a finite update.
    """
    import numpy as np  # not needed to start the command line

    values = np.asarray(losses, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) < SPAN:
        return None
    values = values[rows]
    windows = np.lib.stride_tricks.sliding_window_view(values, SPAN)
    before = SPAN // 2
    medians = np.partition(windows, before, axis=1)[:, before]
    if not (medians > 0).all():  # a ratio to them would mean nothing
        return None
    with np.errstate(over="ignore"):  # an infinite ratio is a spike
        times = values[before:] / np.append(medians, [medians[-1]] * before)
    worst, most = int(times.argmax()), float(times.max())
    if most < LEAST or most - 1 < SCATTERS * np.median(np.abs(times - 1)):
        return None
    return int(rows[before + worst]), most
