"""What stands in a table: its columns, how their values are written, which end is best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ditbench.report.compare import suffix

if TYPE_CHECKING:
    from collections.abc import Callable

    from ditbench.report.compare import Comparison


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: the key in a row, and the name in CSV and JSON: with its unit.
        header: the name in tables that people read; None leaves the column out of those.
        text: how a value is written in those; a missing or non-finite number becomes a dash.
        best: which end is highlighted.
        spread: the name of a column whose value follows after ±.
    """

    name: str
    header: str | None
    text: Callable[[Any], str] = str
    best: Literal["low", "high"] | None = None
    spread: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is set flush right."""
        return self.text is not str


def decimals(places: int, scale: float = 1.0) -> Callable[[Any], str]:
    """A writer of numbers: `decimals(2, 1e-6)(33e6)` is `33.00`."""
    return lambda value: f"{value * scale:,.{places}f}"


def significant(digits: int, least: int = 0, scale: float = 1.0) -> Callable[[Any], str]:
    """A writer of numbers of any size, with at least `least` decimals.

    `significant(3, 2)` writes 0.0035 as `0.00350` and 118.64 as `118.64`.
    """

    def text(value: Any) -> str:
        scaled = value * scale
        size = math.floor(math.log10(abs(scaled))) if scaled else 0
        return f"{scaled:,.{max(least, digits - 1 - size)}f}"

    return text


# What `ditbench flops` shows; Peebles & Xie call multiply-accumulates Gflops.
COST_COLUMNS = (
    Column("block", "Block"),
    Column("model", "Model"),
    Column("input", "Input"),
    Column("parameters", "Params (M)", significant(3, 1, 1e-6), "low"),
    Column("gmacs", "GMACs (paper's Gflops)", significant(3, 2), "low"),
    Column("gflops", "GFLOPs (2 x GMACs)", significant(3, 2), "low"),
)


def comparison_columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns of `comparison_rows`; its group and baseline appear in CSV and JSON only."""
    of = suffix(comparison.group)
    return (
        Column("block", "Block"),
        Column("seeds", "n", "{:d}".format),
        Column("parameters", "Params (M)", significant(3, 1, 1e-6), "low"),
        Column("gmacs", "GMACs (paper's Gflops)", significant(3, 2), "low"),
        Column("fid", f"FID-{of} ↓", decimals(2), "low", spread="fid_std"),
        Column("fid_std", None),
        Column("kid", f"KID-{of} ↓", significant(3), "low"),
        Column("label_accuracy", "Label acc. ↑", decimals(3), "high"),
        Column("steps_per_second", "steps/s", significant(3), "high"),
        Column("peak_memory_bytes", "Peak mem (MiB)", decimals(0, 2**-20), "low"),
        Column("fid_ratio", f"FID / {comparison.baseline}", decimals(3), "low"),
        Column("baseline", None),
        *(Column(key, None) for key in comparison.group if key not in ("lr", "device")),
    )


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a block, each with its baseline and group, so that rows of groups can be stacked."""
    beside = {"baseline": comparison.baseline, **comparison.group}
    return [{**row, **beside} for row in comparison.table.to_dict("records")]  # type: ignore[dict-item]
