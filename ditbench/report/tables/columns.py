"""The columns of tables: names, headers, how values are written, which end is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ditbench.amounts import decimals, duration, significant, writer
from ditbench.distances import title_of
from ditbench.errors import unknown_name
from ditbench.report.facts import ALIKE, BY_NAME
from ditbench.report.verdict_words import effect_in_words, percent
from ditbench.report.words import metric_title

if TYPE_CHECKING:
    from ditbench.report.reading.metrics import MetricFacts
    from ditbench.report.statistics.compare import Comparison


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str  # the key in a row, and the name in CSV and JSON: with its unit
    header: str | None  # in tables that people read; None leaves the column out of those
    text: Callable[[Any], str] = str  # writes a value in those; a missing one becomes a dash
    best: Literal["low", "high"] | None = None  # which end is highlighted
    spread: str | None = None  # the column whose value follows after ±
    until: str | None = None  # the column that holds the other end of an interval
    interval: tuple[str, str] | None = None  # the columns whose interval follows in brackets

    @property
    def is_number(self) -> bool:
        """Whether values are aligned right."""
        return self.text is not str


def fact_column(name: str) -> Column:
    """The column of a fact of `ditbench.report.facts`."""
    fact = BY_NAME[name]
    return Column(name, fact.title, fact.text, fact.best)


def hidden(*names: str) -> tuple[Column, ...]:
    """Columns that are in CSV and JSON only."""
    return tuple(Column(name, None) for name in names)


# The table of `ditbench flops`.
COST_COLUMNS = tuple(map(fact_column, ("block", "model", "input", "parameters", "gmacs", "gflops")))
# The rows of `ditbench diff` and `reproduce`.
DIFF_COLUMNS = (Column("source", "In"), Column("key", "Key"), Column("a", "A"), Column("b", "B"))
# The table of `ditbench compare --plan`.
PLAN_COLUMNS = (
    *hidden("group", "leader", "rivals", "noise", "at_hand", "effect"),
    Column("better", "Better by"),
    Column("seeds_80", "Seeds for 80% power", "{:d}".format),
    Column("seconds_80", "time", duration),
    Column("seeds_90", "for 90%", "{:d}".format),
    Column("seconds_90", "time", duration),
    *hidden("device"),
)


def plan_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of `PLAN_COLUMNS`; none if there is nothing to plan from."""
    planning = comparison.planning
    if planning is None:
        return []
    shared = vars(planning) | {"group": comparison.heading, "rivals": ", ".join(planning.rivals)}
    rows = planning.rows()
    return [shared | row | {"better": effect_in_words(planning, row["effect"])} for row in rows]


# What people see of a comparison unless they ask for more: it fits 80 characters.
_DEFAULT = ("block", "seeds", "model", "parameters", "gmacs", "steps", "fid")
_RATIO = ("fid_ratio", "p_bonferroni")
# Short names of columns for --columns.
_SHORT = {
    "n": "seeds", "params": "parameters", "ratio": "fid_ratio", "p": "p_bonferroni",
    "memory": "peak_memory_bytes",
}  # fmt: skip


def parse_columns(text: str, comparisons: Sequence[Comparison]) -> list[str]:
    """The names of columns, joined by commas; a DitbenchError for one that no comparison has."""
    known = {each.name for comparison in comparisons for each in comparison_columns(comparison)}
    names = {name: _SHORT.get(name, name) for name in map(str.strip, text.split(","))}
    for name, column in names.items():
        if column not in known:
            raise unknown_name("column", name, [*sorted(known), *_SHORT])
    return list(dict.fromkeys(names.values()))


def comparison_columns(
    comparison: Comparison, names: Sequence[str] = (), *, wide: bool = False
) -> tuple[Column, ...]:
    """The columns of `comparison_rows`. CSV and JSON always have all.

    People see the named ones beside the block, or else the default ones, or all that say something
    if `wide`: intervals and p values if there are two seeds, steps if blocks differ in them.
    """
    columns = {column.name: column for column in _all_columns(comparison)}
    if names:
        chosen = dict.fromkeys(["block", *(name for name in names if name in columns)])
        first = [columns.pop(name) for name in chosen]
        return (
            *(
                each if each.header else replace(each, header=each.name, text=_plain)
                for each in first
            ),
            *hidden(*columns),
        )
    if wide:
        return tuple(columns.values())
    targets = [name for name in columns if "target" in name]
    # The ratio is that of FID.
    ratio = _RATIO if comparison.decided_by == "fid" else ()
    default = {*_DEFAULT, comparison.decided_by, *targets, *ratio}
    return tuple(
        column if name in default else replace(column, header=None)
        for name, column in columns.items()
    )


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _all_columns(comparison: Comparison) -> tuple[Column, ...]:
    """All columns, with headers if they say something."""
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
    title = title_of("fid", features)
    ratio = f"{title} / {comparison.baseline}" + (f" [{percent(level)} CI]" if tested else "")
    return (
        fact_column("block"),
        Column("seeds", "n", "{:d}".format),
        fact_column("model") if table["model"].nunique() > 1 else Column("model", None),
        fact_column("parameters"),
        fact_column("gmacs"),
        fact_column("steps") if table["steps"].nunique() > 1 else Column("steps", None),
        *hidden("train_flops", "train_seconds"),
        *(column(each, spread=f"{each.name}_std") for each in decisive),
        *hidden(*(f"{each.name}_std" for each in decisive)),
        column(fid, spread="fid_std"),
        *hidden("fid_std", "fid_geometric"),
        Column("fid_low", f"95% CI of {title}" if several else None, _fid_end, until="fid_high"),
        *hidden("fid_high"),
        Column("fid_area", f"{title} area ↓" if has_curve else None, decimals(1), "low"),
        *map(column, others),
        fact_column("steps_per_second"),
        fact_column("peak_memory_bytes"),
        *hidden("loss_spikes"),
        *_target_columns(title, comparison.target_fid),
        *hidden("pairs", "fid_difference", "fid_difference_low", "fid_difference_high"),
        Column(
            "fid_ratio", ratio if len(table) > 1 else None, _ratio, "low",
            interval=("fid_ratio_low", "fid_ratio_high"),
        ),
        *hidden("fid_ratio_low", "fid_ratio_high", "p_value"),
        Column("p_bonferroni", "p" if tested else None, _p_value),
        *hidden("equivalent", "baseline", "winner", "decided_by", "forced"),
        *hidden(*(key for key in ALIKE if key != "model"), "schema"),
    )  # fmt: skip


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
    metric: MetricFacts, samples: int | None, features: str | None = None, spread: str | None = None
) -> Column:
    """The column of a metric of so many samples, in features; None if rows differ in them."""
    title = metric_title(metric.title, features, samples if metric.depends_on_samples else None)
    unit = f" ({metric.unit})" if metric.unit else ""
    lower, text = metric.direction == "lower", writer(metric.format)
    header = f"{title}{unit} {'↓' if lower else '↑'}"
    return Column(metric.name, header, text, "low" if lower else "high", spread=spread)


def _target_columns(title: str, target: float | None) -> tuple[Column, ...]:
    if target is None:
        return ()
    return (
        Column("target_fid", None),
        Column("reached_target", f"Reached {title} {target:g}", "{:d}".format, "high"),
        Column("steps_to_target", "after steps", decimals(0), "low"),
        Column("train_flops_to_target", "PFLOPs", significant(3, scale=1e-15), "low"),
        Column("seconds_to_target", "seconds", significant(3), "low"),
    )


def _fid_end(value: float) -> str:
    """An end of the t interval of a mean FID, which of two seeds may begin below 0: no FID is."""
    return decimals(2)(max(value, 0.0))


def _ratio(value: float) -> str:
    """Two decimals, or a bound: the interval of two seeds can span ten orders of magnitude."""
    if value < 0.005:
        return "<0.01"
    if value > 1000:
        return ">1,000"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _p_value(value: float) -> str:
    """Three decimals, and never zero."""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"
