"""How often the verdict is wrong: on resampled runs, and on simulated ones whose truth is known.

`python tests/report/statistics/calibration.py` prints the table of docs/statistics.md.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaincinv, stdtr

from ditbench.report.amounts import decimals
from ditbench.report.facts import in_order
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.verdict import ALPHA
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.report.statistics.paired import Values

REFERENCE = Path(__file__).parents[3] / "results" / "reference" / "digits"
SEED = 20221219  # any number: it makes the rates reproducible
# How much lower the FID of the best block is than that of the others, in simulations.
EFFECTS = (0.1, 0.2, 0.3)

COLUMNS = (
    Column("source", "FIDs"),
    Column("truth", "Truth"),
    Column("blocks", "Blocks", "{:d}".format),
    Column("seeds", "Seeds", "{:d}".format),
    Column("comparisons", "Comparisons", "{:,d}".format),
    Column("wrong", "Wrong winner (%)", decimals(2, 100)),
    Column("right", "Right winner (%)", decimals(1, 100)),
)


@dataclass(frozen=True)
class Noise:
    """The scatter of equally good blocks: standard deviations of the logarithm of FID.

    `level` is the mean FID, `seed` the deviation between seeds, which all blocks share, and
    `residual` that between the blocks of one seed.
    """

    level: float
    seed: float
    residual: float


@dataclass(frozen=True)
class Scenario:
    """(R, B, S) final FIDs of R comparisons; `best` is the block that is better than all others."""

    source: str
    truth: str
    fids: Values
    best: int | None


def reference_fids() -> Values:
    """(B, S) final FIDs of the paper's blocks on digits."""
    runs = load_results(REFERENCE, "paper")
    table = runs[runs["final"]].pivot(index="block", columns="seed", values="fid")
    return table.loc[in_order(table.index)].to_numpy(dtype=np.float64)


def calibrate(fids: Values, repetitions: int) -> list[dict[str, Any]]:
    """The rates of wrong and right winners in comparisons of known truth.

    A winner is wrong if no block is better, or if another one is.
    """
    generator = np.random.default_rng(SEED)
    noise = measure_noise(fids)
    scenarios = itertools.chain(
        _resampled(fids, generator, repetitions), _simulated(noise, generator, repetitions)
    )
    return [_rates(scenario) for scenario in scenarios]


def is_calibrated(rows: list[dict[str, Any]]) -> bool:
    """Whether no rate of wrong winners is above 5% by more than its own uncertainty.

    Several rates are 5% by design: each is judged at a level at which all of them pass then.
    """
    tail = ALPHA / len(rows) / 2
    for row in rows:
        count, number = round(row["wrong"] * row["comparisons"]), row["comparisons"]
        # The lower end of the interval of Clopper and Pearson.
        if count and betaincinv(count, number - count + 1, tail) > ALPHA:
            return False
    return True


def measure_noise(fids: Values) -> Noise:
    """Level and scatter of (B, S) FIDs: an analysis of variance of their logarithms."""
    logs = np.log(fids)
    blocks, seeds = logs.shape
    effects = logs.mean(axis=1, keepdims=True) + logs.mean(axis=0) - logs.mean()
    residual = ((logs - effects) ** 2).sum() / ((blocks - 1) * (seeds - 1))
    between = max(0.0, logs.mean(axis=0).var(ddof=1) - residual / blocks)
    return Noise(float(np.exp(logs.mean())), float(between) ** 0.5, float(residual) ** 0.5)


def winners(fids: Values) -> Values:
    """The winner of each of (R, B, S) comparisons by the rule of `decide`, or -1."""
    leader = fids.mean(axis=-1).argmin(axis=-1)
    reference = np.take_along_axis(fids, leader[..., None, None], axis=-2)
    p_values = paired_p_values(fids, reference)
    np.put_along_axis(p_values, leader[..., None], np.nan, axis=-1)
    significant = holm(p_values) <= ALPHA
    np.put_along_axis(significant, leader[..., None], values=True, axis=-1)
    return np.where(significant.all(axis=-1), leader, -1)


def paired_p_values(values: Values, reference: Values) -> Values:
    """The two-sided p value of a paired t test along the last axis.

    Args:
        values: (..., S), one per seed; NaN if a seed is missing.
        reference: (..., S), likewise.

    Returns:
        (...); NaN for fewer than two pairs. If the differences do not vary at all, 0, or 1 if they
        are all 0.
    """
    differences = values - reference
    there = ~np.isnan(differences)
    n = there.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, differences, 0).sum(axis=-1) / n
        deviations = np.where(there, differences - mean[..., None], 0)
        error = np.sqrt((deviations**2).sum(axis=-1) / (n - 1) / n)
        p = 2 * stdtr(n - 1, -np.abs(mean) / error)
    p = np.where((error == 0) & (mean == 0), 1.0, p)
    return np.where(n < 2, np.nan, p)


def holm(p_values: Values) -> Values:
    """P values corrected for their number along the last axis; NaN is not a test."""
    order = np.argsort(p_values, axis=-1)  # NaN comes last
    ascending = np.take_along_axis(p_values, order, axis=-1)
    tests = (~np.isnan(p_values)).sum(axis=-1, keepdims=True)
    factors = tests - np.arange(p_values.shape[-1])
    adjusted = np.minimum(1.0, np.maximum.accumulate(ascending * factors, axis=-1))
    result = np.empty_like(p_values)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def _resampled(fids: Values, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """The runs themselves, but with blocks exchanged or with seeds left out."""
    blocks, seeds = fids.shape
    shuffled = np.broadcast_to(fids, (number, blocks, seeds))
    yield Scenario(
        "resampled, blocks exchanged within each seed",
        "none is better",
        generator.permuted(shuffled, axis=1),
        None,
    )
    best = int(fids.mean(axis=1).argmin())
    for size in range(3, seeds + 1):
        chosen = np.array(list(itertools.combinations(range(seeds), size)))
        subsets = np.moveaxis(fids[:, chosen], 0, 1)
        yield Scenario("resampled, some seeds of all", "the leader over all seeds", subsets, best)


def _simulated(noise: Noise, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """Log-normal FIDs with the scatter of the runs, and FIDs with heavier tails."""
    for blocks, seeds in itertools.product((2, 4, 8), (2, 3, 5, 10)):
        fids = _draw(noise, generator, (number, blocks, seeds))
        yield Scenario("simulated", "none is better", fids, None)
    for seeds in (3, 5, 10):
        worse = np.array([1.0, 1.0, 1.4, 1.4])[:, None]
        fids = worse * _draw(noise, generator, (number, 4, seeds))
        yield Scenario("simulated", "two are equal, two are 40% worse", fids, None)
    for seeds in (3, 5, 10):
        fids = _draw(noise, generator, (number, 2, seeds), heavy=True)
        yield Scenario("simulated, heavy tails", "none is better", fids, None)
    for effect, seeds in itertools.product(EFFECTS, (3, 5, 10)):
        better = np.array([1 - effect, 1.0, 1.0, 1.0])[:, None]
        fids = better * _draw(noise, generator, (number, 4, seeds))
        yield Scenario("simulated", f"one is {effect:.0%} better", fids, 0)


def _draw(
    noise: Noise, generator: np.random.Generator, shape: tuple[int, int, int], *, heavy=False
) -> Values:
    """(R, B, S) FIDs of blocks that are equally good."""
    comparisons, _, seeds = shape
    by_seed = generator.standard_normal((comparisons, 1, seeds))
    # Student's t with 3 degrees of freedom, scaled to a standard deviation of 1.
    residual = (
        generator.standard_t(3, shape) / 3**0.5 if heavy else generator.standard_normal(shape)
    )
    return noise.level * np.exp(noise.seed * by_seed + noise.residual * residual)


def _rates(scenario: Scenario) -> dict[str, Any]:
    comparisons, blocks, seeds = scenario.fids.shape
    named, best = winners(scenario.fids), scenario.best
    return {
        "source": scenario.source,
        "truth": scenario.truth,
        "blocks": blocks,
        "seeds": seeds,
        "comparisons": comparisons,
        "wrong": float(((named != -1) & (named != best)).mean()),
        "right": float("nan") if best is None else float((named == best).mean()),
    }


if __name__ == "__main__":
    print(render(calibrate(reference_fids(), 20_000), COLUMNS, "md"), end="")
