"""The columns of tables: names, headers, how values are written, which end is best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ditbench.report.amounts import decimals, duration, significant, writer
from ditbench.report.facts import ALIKE, BY_NAME
from ditbench.report.verdict_words import effect_in_words, percent
from ditbench.report.words import metric_title

if TYPE_CHECKING:
    from ditbench.report.reading.metrics import MetricFacts
    from ditbench.report.statistics.compare import Comparison


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
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
    def is_number(self) -> bool:
        """Whether values are aligned right."""
        return self.text is not str


def fact_column(name: str) -> Column:
    """The column of a fact of `ditbench.report.facts`."""
    fact = BY_NAME[name]
    return Column(name, fact.title, fact.text, fact.best)


def _hidden(*names: str) -> tuple[Column, ...]:
    """Columns that are in CSV and JSON only."""
    return tuple(Column(name, None) for name in names)


# The table of `ditbench flops`.
COST_COLUMNS = tuple(map(fact_column, ("block", "model", "input", "parameters", "gmacs", "gflops")))
# The table of `ditbench compare --diff`.
DIFF_COLUMNS = (Column("source", "In"), Column("key", "Key"), Column("a", "A"), Column("b", "B"))


# The table of `ditbench compare --plan`.
PLAN_COLUMNS = (
    *_hidden("group", "leader", "rivals", "noise", "at_hand", "effect"),
    Column("better", "Better by"),
    Column("seeds_80", "Seeds for 80% power", "{:d}".format),
    Column("seconds_80", "time", duration),
    Column("seeds_90", "for 90%", "{:d}".format),
    Column("seconds_90", "time", duration),
    *_hidden("device"),
)


def plan_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of `PLAN_COLUMNS`; none if there is nothing to plan from."""
    planning = comparison.planning
    if planning is None:
        return []
    return [
        {
            **vars(planning),
            **row,
            "group": comparison.heading,
            "rivals": ", ".join(planning.rivals),
            "better": effect_in_words(planning, row["effect"]),
        }
        for row in planning.rows()
    ]


def comparison_columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns of `comparison_rows`.

    People see those that say something: intervals and p values if there are two seeds, steps if
    blocks differ in them, a target if one was named. CSV and JSON always have all.
    """
    table = comparison.table
    fid = next(metric for metric in comparison.metrics if metric.name == "fid")
    others = [metric for metric in comparison.metrics if metric is not fid]
    decisive = [metric for metric in others if metric.name == comparison.decided_by]
    others = [metric for metric in others if metric not in decisive]
    samples, features = (comparison.group.get(key) for key in ("samples", "features"))
    column = partial(metric_column, samples=samples, features=features)
    has_curve = not comparison.group.get("evaluation")
    several = bool(table["fid_low"].notna().any())
    tested = bool(table["p_bonferroni"].notna().any())
    level = 1 - comparison.verdict.alpha if comparison.verdict else 0.95
    corrected = f"{percent(level)} interval (Bonferroni)"
    return (
        fact_column("block"),
        Column("seeds", "n", "{:d}".format),
        fact_column("model") if table["model"].nunique() > 1 else Column("model", None),
        fact_column("parameters"),
        fact_column("gmacs"),
        fact_column("steps") if table["steps"].nunique() > 1 else Column("steps", None),
        *_hidden("train_flops", "train_seconds"),
        *(column(each, spread=f"{each.name}_std") for each in decisive),
        *_hidden(*(f"{each.name}_std" for each in decisive)),
        column(fid, spread="fid_std"),
        *_hidden("fid_std", "fid_geometric"),
        Column("fid_low", "95% interval" if several else None, decimals(2), until="fid_high"),
        *_hidden("fid_high"),
        Column("fid_area", "FID area ↓" if has_curve else None, decimals(1), "low"),
        *map(column, others),
        fact_column("steps_per_second"),
        fact_column("peak_memory_bytes"),
        *_hidden("loss_spikes"),
        *(_target_columns(comparison.target_fid) if comparison.target_fid is not None else ()),
        *_hidden("pairs", "fid_difference", "fid_difference_low", "fid_difference_high"),
        Column("fid_ratio", f"FID / {comparison.baseline}", decimals(3), "low"),
        Column("fid_ratio_low", corrected if tested else None, decimals(2), until="fid_ratio_high"),
        *_hidden("fid_ratio_high", "p_value"),
        Column("p_bonferroni", "p (Bonferroni)" if tested else None, _p_value),
        *_hidden("equivalent"),
        *_hidden("baseline", "winner", "decided_by", "forced"),
        *_hidden(*(key for key in ALIKE if key != "model"), "schema"),
    )


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per block, with its baseline and group, so that rows of groups can be stacked."""
    winner = comparison.verdict.winner if comparison.verdict else None
    common = {
        "baseline": comparison.baseline,
        "forced": ", ".join(comparison.forced) or None,
        "decided_by": comparison.decided_by,
        "target_fid": comparison.target_fid,
        **{key: comparison.group.get(key) for key in (*ALIKE, "schema")},
    }
    rows: list[dict[str, Any]] = comparison.table.to_dict("records")  # type: ignore[assignment]
    return [{**common, **row, "winner": row["block"] == winner} for row in rows]


def metric_column(
    metric: MetricFacts,
    samples: int | None,
    features: str | None = None,
    spread: str | None = None,
) -> Column:
    """The column of a metric of so many samples, in features; None if rows differ in them."""
    number = samples if metric.depends_on_samples else None
    unit = f" ({metric.unit})" if metric.unit else ""
    lower = metric.direction == "lower"
    title = metric_title(metric.title, features, number)
    header = f"{title}{unit} {'↓' if lower else '↑'}"
    best: Literal["low", "high"] = "low" if lower else "high"
    return Column(metric.name, header, writer(metric.format), best, spread)


def _target_columns(target: float) -> tuple[Column, ...]:
    return (
        Column("target_fid", None),
        Column("reached_target", f"Reached FID {target:g}", "{:d}".format, "high"),
        Column("steps_to_target", "after steps", decimals(0), "low"),
        Column("train_flops_to_target", "PFLOPs", significant(3, scale=1e-15), "low"),
        Column("seconds_to_target", "seconds", significant(3), "low"),
    )


def _p_value(value: float) -> str:
    """Three decimals, and never zero."""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"
