"""Tables of learning-rate sweeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ditbench import amounts
from ditbench.report.reading.sweeps import Sweep
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import BEST_OF_ROW
from ditbench.report.words import suffix, sweep_remark


def tuning_columns(sweeps: Sequence[Sweep], *, for_people: bool) -> tuple[Column, ...]:
    """The columns of `tuning_row`. For programs, diverged rates have a column of their own."""
    titles = {each.metric.name: f"{each.title}-{suffix(each.samples)}" for each in sweeps}
    scores = {
        f"{metric}_at_{rate}": f"{title} ↓ lr={rate:g}"
        for rate in sorted({rate for sweep in sweeps for rate in sweep.rates})
        for metric, title in titles.items()
    }
    if for_people:
        return (
            Column("block", "Block"),
            *(Column(f"shown_{name}", header, "{}".format) for name, header in scores.items()),
            Column("lr", "Learning rate", "{:g}".format),
            Column("remark", "Remark"),
        )
    names = ["block", "lr", *scores, "diverged", "missing", "seeds", "budget", "samples", "remark"]
    return tuple(Column(name, name) for name in names)


def tuning_row(sweep: Sweep) -> dict[str, Any]:
    """The row of a block, with its best rate marked."""
    row: dict[str, Any] = {}
    diverged = []
    write = amounts.writer(sweep.metric.format)
    for rate in sweep.rates:
        name, mean = f"{sweep.metric.name}_at_{rate}", sweep.mean(rate)
        row[name] = mean
        if math.isinf(mean):
            diverged.append(str(rate))
        if not math.isnan(mean):
            row[f"shown_{name}"] = "diverged" if math.isinf(mean) else write(mean)
    return row | {
        "block": sweep.block,
        "lr": sweep.best,
        "diverged": ", ".join(diverged) or None,
        "missing": len(sweep.missing),
        "seeds": ", ".join(map(str, sweep.seeds)),
        "budget": str(sweep.budget),
        "samples": sweep.samples,
        "remark": sweep_remark(sweep.rates, sweep.best, len(sweep.missing), sweep.runs),
        BEST_OF_ROW: sweep.best and f"shown_{sweep.metric.name}_at_{sweep.best}",
    }
