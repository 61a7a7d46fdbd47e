"""Loss spikes: a run that lost hold for some steps, and what that may have done to its FID.

A spike passes, and the last rows of a training log say nothing of it; but the averaged weights have
taken it in, and evaluations soon after it are of those.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from ditbench.errors import DitbenchError
from ditbench.report.order import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from ditbench.report.fields import Row

# Rows of a training log that one of them is held against, about an eighth of a run's.
SPAN = 25
# How many times their median a spike is, at least, ...
LEAST = 1.1
# ... and how many times as far from it as the rows of its run usually are. Of the 83 reference
# runs seven have such rows, the least of them 1.14 times the median and 12 times as far; one has a
# row 1.09 times the median and 71 times as far, and all others stay below 1.07 and 8.
SCATTERS = 10.0


def read_spike(path: Path) -> Row:
    """What a training log says of spikes, under the names of `COLUMNS`; a run may lack a log.

    Args:
        path: of train.csv, no larger than can be read at once.

    Returns:
        `loss_spike`, how many times the loss around it the worst spike is, and `loss_spike_step`,
        the last step of its row; NaN where there is none.

    Raises:
        DitbenchError: the file is damaged.
    """
    none = {"loss_spike": math.nan, "loss_spike_step": math.nan}
    try:
        names, lines = _read(path)
        # Not all cells of it: a thousand logs take time.
        loss = names.index("loss")
        worst = worst_spike([float(line.split(",", loss + 1)[loss]) for line in lines])
        if worst is None:
            return none
        row, times = worst
        step = float(lines[row].split(",")[names.index("step")])
    except FileNotFoundError:
        return none
    except (ValueError, IndexError) as error:  # not UTF-8, no such column or cell, or no number
        raise DitbenchError(f"{path.name} is truncated or malformed") from error
    return {"loss_spike": times, "loss_spike_step": step}


def _read(path: Path) -> tuple[list[str], list[str]]:
    """The names of the columns of a CSV file, and its rows; a ValueError where it is damaged."""
    text = path.read_text("utf-8")
    header, *lines = text.splitlines()
    names = header.split(",")
    # The last row is written with its newline: without, it may have lost digits.
    if not text.endswith("\n") or text.count(",") != (len(names) - 1) * (1 + len(lines)):
        raise ValueError
    return names, lines


def worst_spike(losses: Sequence[float]) -> tuple[int, float] | None:
    """The row of a training log that stands out most, if one is a spike.

    Each row is held against the median of the `SPAN` rows around it, the last ones against that of
    the last `SPAN`. The first ones, where a loss falls steeply, are left out.

    Args:
        losses: of all rows, in their order; rows of which no update was good have NaN.

    Returns:
        The row's number and how many times that median its loss is; None for no spike, also where
        there are fewer than `SPAN` rows.
    """
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
    with np.errstate(over="ignore"):  # infinitely many times is many
        times = values[before:] / np.append(medians, [medians[-1]] * before)
    worst = int(times.argmax())
    most = float(times[worst])
    if most < LEAST or most - 1 < SCATTERS * np.median(np.abs(times - 1)):
        return None
    return int(rows[before + worst]), most


def spikes_in_words(final: pd.DataFrame) -> str:
    """A sentence on the runs of which a loss had spikes, or nothing where none had.

    Args:
        final: the last evaluation of each run.
    """
    spiked = final[final["loss_spike"].notna()]
    if spiked.empty:
        return ""
    where = ", ".join(
        f"{block} {_seeds(spiked.loc[spiked['block'] == block, 'seed'].tolist())}"
        for block in in_order(spiked["block"])
    )
    clipped = all("train.grad_clip" in json.loads(recipe) for recipe in spiked["recipe"])
    means = "a lower --lr" if clipped else "--set train.grad_clip=0.1, or a lower --lr,"
    worst = spiked["loss_spike"].max()
    return (
        f"The loss of {len(spiked)} of {len(final)} runs had a spike ({where}; the worst "
        f"{worst:.1f} times the loss around it), which their FIDs may not have got over: "
        f"{means} can keep spikes small."
    )


def _seeds(numbers: list[int]) -> str:
    """`seed 3`, or `seeds 0, 1`."""
    listed = ", ".join(map(str, sorted(numbers)))
    return f"seed{'s' if len(numbers) > 1 else ''} {listed}"
