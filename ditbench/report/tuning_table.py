"""The table of `ditbench tune`: one row a block, one column a learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ditbench.report.columns import Column
from ditbench.report.tables import BEST_OF_ROW
from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.report.tuning import Sweep


def tuning_columns(sweeps: Sequence[Sweep], *, for_people: bool) -> tuple[Column, ...]:
    """The columns of `tuning_rows`.

    Args:
        sweeps: those of the rows.
        for_people: whether a cell says `diverged`; otherwise numbers are plain and those rates are
            listed in a column of their own.
    """
    rates = _rates(sweeps)
    if for_people:
        fid = f"FID-{metric_suffix(sweeps[0].samples).upper()}"
        return (
            Column("block", "Block"),
            *(Column(f"told_{rate}", f"{fid} ↓ lr={rate:g}", _as_told) for rate in rates),
            Column("lr", "Learning rate", "{:g}".format),
            Column("remark", "Remark"),
        )
    names = ("block", "lr", *(f"fid_at_{rate}" for rate in rates))
    return tuple(
        map(_plain, (*names, "diverged", "missing", "seeds", "budget", "samples", "remark"))
    )


def _plain(name: str) -> Column:
    return Column(name, name)


def _as_told(text: str) -> str:
    return text


def tuning_rows(sweeps: Sequence[Sweep]) -> list[dict[str, Any]]:
    """One row a block; the best rate of each is marked."""
    return [_row(sweep) for sweep in sweeps]


def _row(sweep: Sweep) -> dict[str, Any]:
    means = {rate: sweep.mean(rate) for rate in sweep.rates}
    return {
        "block": sweep.block,
        "lr": sweep.best,
        **{f"fid_at_{rate}": mean for rate, mean in means.items()},
        **{f"told_{rate}": _cell(mean) for rate, mean in means.items()},
        "diverged": _listed(rate for rate, mean in means.items() if math.isinf(mean)),
        "missing": len(sweep.missing),
        "seeds": _listed(sweep.seeds),
        "budget": str(sweep.budget),
        "samples": sweep.samples,
        "remark": remark(sweep),
        BEST_OF_ROW: None if sweep.best is None else f"told_{sweep.best}",
    }


def _cell(mean: float) -> str | None:
    if math.isnan(mean):
        return None
    return "diverged" if math.isinf(mean) else f"{mean:,.2f}"


def _listed(numbers: Any) -> str | None:
    return ", ".join(map(str, numbers)) or None


def remark(sweep: Sweep) -> str | None:
    """What a reader of the chosen rate must know, or None."""
    if sweep.missing:
        total = len(sweep.rates) * len(sweep.seeds)
        return f"not finished: {len(sweep.missing)} of {total} runs missing"
    best = sweep.best
    if best is None:
        return "diverged at every rate: try lower ones"
    if len(sweep.rates) == 1:
        return "one rate alone: nothing was chosen"
    if best == sweep.rates[0]:
        return f"best at the edge: widen the grid below {best:g}"
    if best == sweep.rates[-1]:
        return f"best at the edge: widen the grid above {best:g}"
    return None


def tuning_title(sweep: Sweep) -> str:
    """What all rows share, from one of them."""
    plural = "s" if len(sweep.seeds) > 1 else ""
    listed = _listed(sweep.seeds)
    return f"Mean final FID by learning rate: {sweep.budget} a run, seed{plural} {listed}"


def _rates(sweeps: Sequence[Sweep]) -> list[float]:
    return sorted({rate for sweep in sweeps for rate in sweep.rates})
