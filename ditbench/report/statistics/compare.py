"""Results to a comparison of blocks: one row per block, differences by seed, and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ditbench.amounts import writer
from ditbench.errors import DitbenchError, unknown_name
from ditbench.few import few_in_group
from ditbench.report import remark_words, verdict_words, words
from ditbench.report.facts import ALIKE, INFERRED, in_order
from ditbench.report.paper import beside
from ditbench.report.reading import groups
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.reading.results import metrics_of, versions_differ
from ditbench.report.statistics import remarks
from ditbench.report.statistics.block_table import beside_baseline, block_means, by_seed
from ditbench.report.statistics.curves import fid_area
from ditbench.report.statistics.looks import plan_of
from ditbench.report.statistics.paired import Values, fitting_scale, means
from ditbench.report.statistics.power import Planning, planning
from ditbench.report.statistics.verdict import Verdict, decide, leaders_by_rate

if TYPE_CHECKING:
    import pandas as pd


class NotComparableError(DitbenchError):
    """Runs that are not comparable were to be ranked together."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of a group of comparable runs.

    Attributes:
        table: one row per block, ascending in the mean of the metric that decides (of FID, the
            geometric one); docs/api.md has its columns.
        baseline: the block that differences and ratios refer to.
        group: the facts that all runs share: key to value.
        sentence: the verdict in one sentence.
        notes: what it rests on and what qualifies it, a line each.
        verdict: the verdict for programs; None if the ranking was forced.
        target_fid: the FID of the columns `..._to_target`, or None.
        forced: the keys in which the runs differ, if one ranking was forced.
        apart: what distinguishes this group from the others of several: key to value.
        metrics: the metrics that the table has means of.
        decided_by: the metric of the verdict and of the order of the table: `fid`, or `kid` where
            images are few.
        planning: what to plan further seeds from; None if forced, or if no two seeds are shared.
    """

    table: pd.DataFrame
    baseline: str
    group: dict[str, Any]
    sentence: str
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None
    target_fid: float | None = None
    forced: dict[str, list[Any]] = field(default_factory=dict)
    apart: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[MetricFacts, ...] = ()
    planning: Planning | None = None
    decided_by: str = "fid"

    @property
    def settings(self) -> str:
        """What all runs share, in one line."""
        return words.heading(self.group)

    @property
    def heading(self) -> str:
        """What distinguishes this group from the others; of a single group, its settings."""
        if self.forced:
            differ = words.differences_in_words(self.forced)
            return f"FORCED, runs differ in {differ}: {self.settings}"
        return self.apart_in_words or self.settings

    @property
    def apart_in_words(self) -> str:
        """What distinguishes this group from the others, or an empty text."""
        return words.apart_in_words(self.group, self.apart)


def compare(
    df: pd.DataFrame, baseline: str | None = None,
    *, target_fid: float | None = None, force: bool = False,
) -> Comparison:  # fmt: skip
    """Compare the blocks of comparable runs at the end of their training, seed by seed.

    Args:
        df: the result of `load_results`, or one of `split_groups`.
        baseline: a block of `df`; by default `in-context`, or else the first in the paper's order.
        target_fid: also report the steps, compute and seconds that it took to reach this FID.
        force: put runs that are not comparable into one ranking. It is marked as forced, infers
            nothing about differences and names no winner; a block with several configurations has
            a row for each.

    Raises:
        DitbenchError: no runs, an unknown baseline, a target that is not above 0, or runs that are
            not comparable: names the keys in which they differ.
    """
    groups.check_columns(df)
    unlike = groups.differences(df)
    if unlike and not force:
        raise NotComparableError(
            f"these runs are not comparable, they differ in {words.differences_in_words(unlike)}",
            "compare them group by group (split_groups), or force one ranking (force=True)",
        )
    df = df.reset_index(drop=True)  # concatenated frames may have duplicate labels
    if unlike:
        df = df.assign(block=_labels(df))
    blocks = _blocks(df, baseline)
    baseline = baseline or blocks[0]
    # Of FID's, only a forced ranking has several versions, and says so itself.
    other_versions = [each for each in versions_differ(df["metrics"]) if each.name != "fid"]
    df = df.assign(**{each.name: math.nan for each in other_versions})
    final = df[df["final"]]
    fids = by_seed(final, blocks, "fid")
    plan = plan_of(final)
    metrics = metrics_of(final["metrics"])
    table = block_means(df, metrics, target_fid).loc[blocks]
    geometric = fitting_scale(fids, "log") == "log"
    table["fid_geometric"] = means(fids, "log") if geometric else math.nan
    table = table.assign(**beside_baseline(blocks, fids, baseline, plan))
    group = groups.shared(final)
    few = "" if unlike else few_in_group(group, final["real_images"].min())
    decisive, values = _decisive(final, blocks, metrics, few=bool(few))
    table[f"{decisive.name}_std"] = final.groupby("block")[decisive.name].std()
    # The order of the verdict.
    centres = means(values, fitting_scale(values, decisive.scale))
    table = table.iloc[np.lexsort((np.array(blocks), centres))].rename_axis("block").reset_index()
    verdict = further = None
    if unlike:
        table[list(INFERRED)] = math.nan  # an interval around 1 would be a verdict, too
        sentence, notes = verdict_words.forced(unlike), remarks.conditions(final)
    else:
        spiked = by_seed(final.assign(spiked=final["loss_spike"].notna()), blocks, "spiked") == 1
        rule = partial(decide, blocks, plan=plan, spiked=spiked)
        verdict = rule(values, scale=decisive.scale)
        further = _planning(verdict, final, blocks, values)
        winners = remarks.other_winners(_by_metric(df, blocks, metrics), rule, verdict.leader)
        leader = table.set_index("block")[decisive.name][verdict.leader]
        sentence = verdict_words.verdict_sentence(
            verdict,
            words.metric_title(decisive.title, group.get("features"), group.get("samples")),
            writer(decisive.format)(leader),
        )
        notes = [
            *verdict_words.verdict_notes(verdict, baseline),
            few,
            remark_words.other_winners(winners),
            remark_words.unequal_sizes(verdict.leader, remarks.unequal_sizes(final, verdict)),
            *remarks.remarks(final, group),
        ]
        if further and not (verdict.best or verdict.unplanned):  # seeds are what is missing
            notes.append(verdict_words.seeds_sentence(further))
    if decisive.name == "fid" and table["p_bonferroni"].notna().any():
        notes.append(verdict_words.table_note(baseline))
    like_the_paper = not beside(df).empty
    notes += [remark_words.versions(other_versions), "" if like_the_paper else words.note(group)]
    return Comparison(
        table, baseline, group, sentence, tuple(filter(None, notes)), verdict,
        target_fid=target_fid, forced=unlike, metrics=tuple(metrics), planning=further,
        decided_by=decisive.name,
    )  # fmt: skip


def compare_groups(
    df: pd.DataFrame, baseline: str | None = None, *, target_fid: float | None = None
) -> list[Comparison]:
    """Compare each group of comparable runs; see `compare`.

    A group without the baseline has its own; a DitbenchError if no group has it.
    """
    groups.check_columns(df)
    _blocks(df, baseline)
    comparisons = []
    found = groups.groups_of(df)
    # Many groups may have the same runs at all rates.
    rates = {id(group.at_all_rates): group.at_all_rates for group in found}
    orders = {key: remark_words.order_by_rate(leaders_by_rate(runs)) for key, runs in rates.items()}
    for group in found:
        known = baseline if baseline in set(group.runs["block"]) else None
        comparison = compare(group.runs, known, target_fid=target_fid)
        notes = (*comparison.notes, *filter(None, [orders[id(group.at_all_rates)]]))
        comparisons.append(replace(comparison, apart=group.apart, notes=notes))
    return comparisons


def _blocks(df: pd.DataFrame, baseline: str | None) -> list[str]:
    """The blocks in order; a DitbenchError if there are none or the baseline is not among them."""
    if df.empty:
        hint = "`ditbench run --block paper` makes some"
        raise DitbenchError("there are no runs to compare", hint)
    blocks = in_order(df["block"])
    if baseline is not None and baseline not in blocks:
        raise unknown_name("baseline", baseline, blocks)
    return blocks


def _labels(df: pd.DataFrame) -> pd.Series[str]:
    """Names of rows: the block, and what distinguishes its configurations if it has several."""
    labels = df["block"].copy()
    for block, runs in df.groupby("block"):
        # The runs of a part may differ in their seed only.
        by_configuration = runs.groupby([*ALIKE, "fingerprint"], sort=False, dropna=False)
        parts = [part for _, part in by_configuration]
        if len(parts) > 1:
            for part, apart in zip(parts, groups.distinctions(parts), strict=True):
                named = ", ".join(words.name_and_value(*each) for each in apart.items())
                labels.loc[part.index] = f"{block} ({named})"
    return labels


def _decisive(
    final: pd.DataFrame, blocks: list[str], metrics: list[MetricFacts], *, few: bool
) -> tuple[MetricFacts, Values]:
    """The metric that decides, and its (B, S) final values: FID, or KID where images are few."""
    by_name = {metric.name: metric for metric in metrics}
    if few and "kid" in by_name and final["kid"].notna().all():
        return by_name["kid"], by_seed(final, blocks, "kid")
    return by_name["fid"], by_seed(final, blocks, "fid")


def _by_metric(
    df: pd.DataFrame, blocks: list[str], metrics: list[MetricFacts]
) -> list[tuple[MetricFacts, Values]]:
    """(B, S) final values of each metric, and FID areas."""
    areas = df["path"].map(fid_area(df[df["curve"]]))
    final = df.assign(**{remarks.FID_AREA.name: areas})[df["final"]]
    every = (*metrics, remarks.FID_AREA)
    return [(metric, by_seed(final, blocks, metric.name)) for metric in every]


def _planning(
    verdict: Verdict, final: pd.DataFrame, blocks: list[str], fids: Values
) -> Planning | None:
    """What to plan further seeds from. A seed takes unknown time if times differ."""
    if groups.why_times_differ(final):
        return planning(verdict, blocks, fids, math.nan, "")
    seconds = (final["train_seconds"] + final["eval_seconds"]).groupby(final["block"]).mean()
    total = float(seconds.sum(skipna=False))
    return planning(verdict, blocks, fids, total, final["device"].iloc[0])
