"""What stands in a table: its columns, how their values are written, which end is best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ditbench.report.groups import LIKE, suffix

if TYPE_CHECKING:
    from collections.abc import Callable

    from ditbench.report.compare import Comparison


# What is inferred of a block beside the baseline; the baseline and forced rankings lack it.
INFERRED = (
    "fid_difference_low",
    "fid_difference_high",
    "fid_ratio_low",
    "fid_ratio_high",
    "p_value",
    "p_holm",
)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: the key in a row, and the name in CSV and JSON: with its unit.
        header: the name in tables that people read; None leaves the column out of those.
        text: how a value is written in those; a missing or non-finite number becomes a dash.
        best: which end is highlighted.
        spread: the name of a column whose value follows after ±.
        until: the name of a column that holds the other end of an interval.
    """

    name: str
    header: str | None
    text: Callable[[Any], str] = str
    best: Literal["low", "high"] | None = None
    spread: str | None = None
    until: str | None = None

    @property
    def second(self) -> tuple[str, str] | None:
        """The name of the column whose value follows, and how the two are written."""
        if self.spread:
            return self.spread, "{} ± {}"
        return (self.until, "[{}, {}]") if self.until else None

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


def p_value(value: float) -> str:
    """A p value: three decimals, and no zero."""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def comparison_columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns of `comparison_rows`.

    People see those that say something: intervals and p values where there are two seeds, steps
    where blocks differ in them, a target where one was named. CSV and JSON always have all.
    """
    of = f"-{suffix(comparison.group)}" if "samples" in comparison.group else ""
    table = comparison.table
    beside = f"FID / {comparison.baseline}"
    steps = table["steps"].nunique() > 1
    several = bool(table["fid_low"].notna().any())
    tested = bool(table["p_holm"].notna().any())
    return (
        Column("block", "Block"),
        Column("seeds", "n", "{:d}".format),
        Column("parameters", "Params (M)", significant(3, 1, 1e-6), "low"),
        Column("gmacs", "GMACs (paper's Gflops)", significant(3, 2), "low"),
        Column("steps", "Steps" if steps else None, decimals(0)),
        Column("train_flops", None),
        Column("train_seconds", None),
        Column("fid", f"FID{of} ↓", decimals(2), "low", spread="fid_std"),
        Column("fid_std", None),
        Column("fid_low", "95% interval" if several else None, decimals(2), until="fid_high"),
        Column("fid_high", None),
        Column("fid_area", "FID area ↓", decimals(1), "low"),
        Column("kid", f"KID{of} ↓", significant(3), "low"),
        Column("label_accuracy", "Label acc. ↑", decimals(3), "high"),
        Column("steps_per_second", "steps/s", significant(3), "high"),
        Column("peak_memory_bytes", "Peak mem (MiB)", decimals(0, 2**-20), "low"),
        Column("loss_spikes", None),
        *_target_columns(comparison),
        Column("pairs", None),
        Column("fid_difference", None),
        Column("fid_difference_low", None),
        Column("fid_difference_high", None),
        Column("fid_ratio", beside, decimals(3), "low"),
        Column(
            "fid_ratio_low", "95% interval" if tested else None, decimals(2), until="fid_ratio_high"
        ),
        Column("fid_ratio_high", None),
        Column("p_value", None),
        Column("p_holm", "p (Holm)" if tested else None, p_value),
        Column("baseline", None),
        Column("winner", None),
        Column("forced", None),
        *(Column(key, None) for key in LIKE),
    )


def _target_columns(comparison: Comparison) -> tuple[Column, ...]:
    target = comparison.target_fid
    if target is None:
        return ()
    return (
        Column("target_fid", None),
        Column("reached_target", f"Reached FID {target:g}", "{:d}".format, "high"),
        Column("steps_to_target", "after steps", decimals(0), "low"),
        Column("train_flops_to_target", "PFLOPs", significant(3, scale=1e-15), "low"),
        Column("seconds_to_target", "seconds", significant(3), "low"),
    )


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a block, each with its baseline and group, so that rows of groups can be stacked."""
    winner = comparison.verdict.winner if comparison.verdict else None
    beside = {
        "baseline": comparison.baseline,
        "forced": ", ".join(comparison.forced) or None,
        "target_fid": comparison.target_fid,
        **{key: comparison.group.get(key) for key in LIKE},
    }
    rows: list[dict[str, Any]] = comparison.table.to_dict("records")  # type: ignore[assignment]
    return [{**row, "winner": row["block"] == winner, **beside} for row in rows]
