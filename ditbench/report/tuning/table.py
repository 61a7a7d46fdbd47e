"""The table of `ditbench tune`: one row per block, one column per learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ditbench.report.amounts import suffix
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import BEST_OF_ROW
from ditbench.report.words import sweep_remark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ditbench.report.tuning.sweeps import Sweep


def tuning_columns(sweeps: Sequence[Sweep], *, for_people: bool) -> tuple[Column, ...]:
    """The columns of `tuning_rows`.

    Args:
        sweeps: of the rows.
        for_people: whether a cell may say `diverged`. Otherwise numbers are plain, and those rates
            are listed in a column of their own.
    """
    rates = sorted({rate for sweep in sweeps for rate in sweep.rates})
    if for_people:
        fid = f"FID-{suffix(sweeps[0].samples)}"
        return (
            Column("block", "Block"),
            *(Column(f"shown_{rate}", f"{fid} ↓ lr={rate:g}", "{}".format) for rate in rates),
            Column("lr", "Learning rate", "{:g}".format),
            Column("remark", "Remark"),
        )
    names = ["block", "lr", *(f"fid_at_{rate}" for rate in rates)]
    names += ["diverged", "missing", "seeds", "budget", "samples", "remark"]
    return tuple(Column(name, name) for name in names)


def tuning_rows(sweeps: Sequence[Sweep]) -> list[dict[str, Any]]:
    """One row per block, with its best rate marked."""
    return [_row(sweep) for sweep in sweeps]


def _row(sweep: Sweep) -> dict[str, Any]:
    means = {rate: sweep.mean(rate) for rate in sweep.rates}
    runs = len(sweep.rates) * len(sweep.seeds)
    return {
        "block": sweep.block,
        "lr": sweep.best,
        **{f"fid_at_{rate}": mean for rate, mean in means.items()},
        **{f"shown_{rate}": _cell(mean) for rate, mean in means.items()},
        "diverged": _listed(rate for rate, mean in means.items() if math.isinf(mean)),
        "missing": len(sweep.missing),
        "seeds": _listed(sweep.seeds),
        "budget": str(sweep.budget),
        "samples": sweep.samples,
        "remark": sweep_remark(sweep.rates, sweep.best, len(sweep.missing), runs),
        BEST_OF_ROW: None if sweep.best is None else f"shown_{sweep.best}",
    }


def _cell(mean: float) -> str | None:
    if math.isnan(mean):
        return None
    return "diverged" if math.isinf(mean) else f"{mean:,.2f}"


def _listed(numbers: Iterable[float]) -> str | None:
    return ", ".join(map(str, numbers)) or None
