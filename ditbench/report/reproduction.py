"""Whether a run that was trained again agrees with the recorded one. Torch-free.

From the strictest to the widest: equal in every recorded number; equal to rounding; or no further
apart than two seeds of one block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ditbench.amounts import significant, writer
from ditbench.few import are_few
from ditbench.report.reading.groups import groups_of
from ditbench.report.reading.metrics import MetricFacts
from ditbench.report.reading.results import diff_runs, load_results, metrics_of
from ditbench.report.reading.run import read_run
from ditbench.report.reading.values import Row
from ditbench.report.words import metric_title
from ditbench.rows import read_rows
from ditbench.rundir import PLANNED_SEEDS, REPRODUCES, RunDirectory

if TYPE_CHECKING:
    import pandas as pd

# How far losses and metrics may be apart that are equal to rounding, as a share of the value:
# rounding errors grow along training (docs/leaderboard.md has what was measured).
ROUNDING = {"fp32": 1e-3, "bf16": 1e-2, "bf16-residual": 1e-2, "fp8": 1e-2}
# Of two seeds of one block, so many are closer than the limit.
LEVEL = 0.95
# What the files of both runs must name alike for metrics to be comparable.
_OF_METRICS = ("dataset_digest", "features_digest")

Kind = Literal["equal", "rounding", "noise", "different", "unknown"]


@dataclass(frozen=True)
class Noise:
    """How much a metric scatters between the seeds of one block, pooled over blocks."""

    deviation: float  # standard deviation, of logarithms where the metric's scale is "log"
    freedom: int  # its degrees of freedom: runs less blocks

    @property
    def limit(self) -> float:
        """How far two seeds of a block are apart at most, with a probability of `LEVEL`."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, (1 + LEVEL) / 2)) * math.sqrt(2) * self.deviation


@dataclass(frozen=True)
class Reproduction:
    """What came of training a run again.

    It is of the kind "unknown" if nothing says how much seeds scatter, or if the metrics are not
    comparable.
    """

    name: str  # block and seed
    kind: Kind
    metrics: list[Row]  # one per metric of both runs, see `_metric_row`
    loss_difference: float | None  # the largest relative one; None if steps differ
    first_difference: int | None  # the step of the first row of train.csv that is not equal
    decided_by: str  # the name of the metric that decides
    seeds: int  # how many runs the noise is from
    environment: list[Row]  # of `diff_runs`

    @property
    def agrees(self) -> bool:
        """Whether the recorded run is confirmed."""
        return self.kind in ("equal", "rounding", "noise")

    @property
    def sentence(self) -> str:
        """How closely it agrees, and by what measure."""
        row = next((row for row in self.metrics if row["name"] == self.decided_by), None)
        if row is None:
            why = "FID has another version here, or images or features are others"
            return f"{self.name}: cannot be judged. {why}."
        write = writer(row["format"])
        title = f"{row['title']} {write(row['recorded'])}"
        both = f"{title} recorded, {write(row['again'])} here"
        if self.kind == "equal":
            return f"{self.name}: equal. {title}, like every loss and every other metric."
        if self.kind == "rounding":
            far = self.loss_difference
            losses = f"losses differ by {far:.1g} of their value at most" if far else "equal losses"
            return f"{self.name}: equal to rounding. {both}; {losses}."
        if row["limit"] is None:
            return f"{self.name}: cannot be judged. {both}, and no block has runs of two seeds."
        apart, limit = (amount(row, key) for key in ("difference", "limit"))
        within = self.kind == "noise"
        verdict = "within the noise between seeds" if within else "does not agree"
        return (
            f"{self.name}: {verdict}. {both}, {apart} apart; two seeds of a block differ by up to "
            f"{limit} ({LEVEL:.0%}, from {self.seeds} runs)."
        )


def judge(run: RunDirectory, again: RunDirectory, group: Sequence[Path] = ()) -> Reproduction:
    """Compare a recorded run with the one that repeats it, of the same fingerprint and seed.

    `group` are directories with runs that show how much seeds scatter. A DitbenchError if one of
    the two runs is incomplete or damaged.
    """
    curves = read_run(run), read_run(again)
    recorded, repeated = (rows[-1] for rows in curves)
    losses, others = (_read_losses(each.train) for each in (run, again))
    metrics = _common_metrics(recorded, repeated)
    names = ("step", "images", *(each.name for each in metrics))
    scores, again_scores = ([[row[name] for name in names] for row in rows] for rows in curves)
    is_equal = losses == others and scores == again_scores
    few = are_few(recorded["features"], recorded["real_images"], recorded["samples"])
    decided_by = "kid" if few and "kid" in names else "fid"
    final = _group_of(recorded, group)
    by_name = {each.name: _metric_row(each, recorded, repeated, final) for each in metrics}
    apart = _largest_difference(losses, others)
    tolerance = ROUNDING.get(recorded["train_precision"], 0.0)
    kind = _kind(by_name.get(decided_by), apart, tolerance, is_equal=is_equal)
    unlike = (row["step"] for row, other in zip(losses, others, strict=False) if row != other)
    return Reproduction(
        f"{recorded['block']}, seed {recorded['seed']}", kind, list(by_name.values()), apart,
        next(unlike, None), decided_by, 0 if final is None else len(final),
        _environment(run, again),
    )  # fmt: skip


def _kind(decisive: Row | None, losses: float | None, tolerance: float, *, is_equal: bool) -> Kind:
    """How closely two runs agree, by their losses and the metric that decides."""
    if decisive is None:  # it is of another version, or in other features
        return "unknown"
    if is_equal:
        return "equal"
    if losses is not None and max(losses, decisive["relative"]) <= tolerance:
        return "rounding"
    if decisive["limit"] is None:
        return "unknown"
    return "noise" if decisive["difference"] <= decisive["limit"] else "different"


def _read_losses(path: Path) -> list[Row]:
    """The rows of train.csv without the seconds; None for NaN, which equals nothing."""
    return [
        {key: None if row[key] != row[key] else row[key] for key in row if key != "seconds"}
        for row in read_rows(path)
    ]


def _largest_difference(rows: list[Row], others: list[Row]) -> float | None:
    """The largest relative difference of two losses; None if they are of different steps."""
    if [row["step"] for row in rows] != [row["step"] for row in others]:
        return None
    pairs = zip(rows, others, strict=True)
    return max((_relative(row["loss"], other["loss"]) for row, other in pairs), default=None)


def _relative(value: float | None, other: float | None) -> float:
    """How far another value is from one, as a share of it."""
    if value == other:
        return 0.0
    if value is None or other is None:
        return math.inf
    return abs(other - value) / abs(value) if value else math.inf


def _common_metrics(recorded: Row, repeated: Row) -> list[MetricFacts]:
    """The metrics that both runs have, of the same version, images and features."""
    if any(recorded[key] != repeated[key] for key in _OF_METRICS):
        return []
    own, others = (metrics_of([row["metrics"]]) for row in (recorded, repeated))
    versions = {each.name: each.version for each in others}
    same = [each for each in own if versions.get(each.name) == each.version]
    return [e for e in same if math.isfinite(recorded[e.name]) and math.isfinite(repeated[e.name])]


def _metric_row(
    metric: MetricFacts, recorded: Row, repeated: Row, final: pd.DataFrame | None
) -> Row:
    """A metric of both runs.

    `relative` is their difference as a share of the recorded value. `difference` and `limit`, how
    far two seeds are apart at most (None if unknown), are of the logarithms where the metric's
    scale is "log".
    """
    value, other = recorded[metric.name], repeated[metric.name]
    samples = recorded["samples"] if metric.depends_on_samples else None
    noise = None if final is None else noise_of(final, metric)
    difference = abs(other - value)
    if metric.scale == "log":
        difference = abs(math.log(other / value)) if min(value, other) > 0 else math.inf
    return {
        **metric.model_dump(include={"name", "format", "scale"}),
        "title": metric_title(metric.title, recorded["features"], samples),
        "recorded": value,
        "again": other,
        "relative": _relative(value, other),
        "difference": difference,
        "limit": None if noise is None else noise.limit,
    }


def amount(row: Row, key: str) -> str:
    """A difference or a limit in words: `14%`, `0.013`."""
    log = row["scale"] == "log"
    number = significant(2)(100 * math.expm1(row[key]) if log else row[key])
    return f"{number}%" if log else number


def noise_of(final: pd.DataFrame, metric: MetricFacts) -> Noise | None:
    """The scatter of a metric between seeds; None if no block has two.

    `final` are the final rows of comparable runs, each block of one configuration.
    """
    if metric.name not in final:
        return None
    known = final[final[metric.name].notna()]
    values = known[metric.name].astype(float)
    freedom = len(known) - known["block"].nunique()
    if freedom < 1 or (metric.scale == "log" and (values <= 0).any()):
        return None
    if metric.scale == "log":
        values = values.map(math.log)
    deviations = values - values.groupby(known["block"]).transform("mean")
    return Noise(math.sqrt(float((deviations**2).sum()) / freedom), freedom)


def _group_of(recorded: Row, places: Sequence[Path]) -> pd.DataFrame | None:
    """The final rows of the runs that may be ranked with a recorded one; None if there are none."""
    groups = groups_of(load_results(places)) if places else []
    own = (each.runs for each in groups if recorded["fingerprint"] in set(each.runs["fingerprint"]))
    return next((runs[runs["final"]] for runs in own), None)


def _environment(run: RunDirectory, again: RunDirectory) -> list[Row]:
    """What differs in the files of two runs, except where these, and what they start from, are.

    Earlier versions recorded less: what the recorded run does not say is left out.
    """
    places = ("data.path", "init.path", "parent.path", "strategy.location")
    left_out = (REPRODUCES, PLANNED_SEEDS, *places)
    known = [row for row in diff_runs(run.path, again.path) if row["a"] is not None]
    return [row for row in known if not str(row["key"]).startswith(left_out)]
