"""How often the verdict is wrong: by runs resampled, and by simulated ones whose truth is known.

An instrument that names winners has to be calibrated on A/A comparisons, of which none is better.
The same rule that speaks in `ditbench compare` is applied some thousand times to FIDs of which it
is known which block is best, if any.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ditbench.errors import DitbenchError
from ditbench.report.order import in_order
from ditbench.report.reading.groups import split_groups
from ditbench.report.statistics.verdict import ALPHA, against_leader
from ditbench.report.tables.columns import Column, decimals

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from ditbench.report.statistics.paired import Values

REPETITIONS = 20_000
SEED = 20221219  # any number: with it the same rates come again
# How much lower the FID of the best block is than that of the others, in simulations.
EFFECTS = (0.1, 0.2, 0.3)
HINT = "`ditbench compare results/reference/digits --self-test` resamples the reference runs"

COLUMNS = (
    Column("source", "FIDs"),
    Column("truth", "Truth"),
    Column("blocks", "Blocks", "{:d}".format),
    Column("seeds", "Seeds", "{:d}".format),
    Column("comparisons", "Comparisons", "{:,d}".format),
    Column("wrong", "Wrong winner (%)", decimals(2, 100)),
    Column("wrong_low", None),
    Column("wrong_high", None),
    Column("right", "Right winner (%)", decimals(1, 100)),
)


@dataclass(frozen=True)
class Noise:
    """How FIDs of like blocks scatter, in standard deviations of their logarithm.

    Attributes:
        level: the mean FID.
        seed: between seeds, common to all blocks of one.
        residual: between the blocks of one seed.
    """

    level: float
    seed: float
    residual: float


@dataclass(frozen=True)
class Scenario:
    """Comparisons of which the truth is known.

    Attributes:
        source: `resampled` or `simulated`, and how.
        truth: in words.
        fids: (R, B, S) final FIDs of R comparisons.
        best: the number of the block that is better than all others, or None.
    """

    source: str
    truth: str
    fids: Values
    best: int | None


def self_test(df: pd.DataFrame, repetitions: int = REPETITIONS) -> list[dict[str, Any]]:
    """Apply the verdict's rule to comparisons of known truth.

    Args:
        df: rows of `load_results`; of its groups the one of most runs is resampled, and lends the
            simulations its level and its scatter.
        repetitions: simulated comparisons a row.

    Returns:
        Rows with the names of `COLUMNS`: `wrong` is the share of comparisons that named a winner
        that is none (between `wrong_low` and `wrong_high` with 95% confidence, by Clopper and
        Pearson), `right` the share that named the one that is (NaN where there is none).

    Raises:
        DitbenchError: no group of at least two blocks that share three seeds.
    """
    fids = _largest(df)
    generator = np.random.default_rng(SEED)
    noise = measure_noise(fids)
    scenarios = itertools.chain(
        _resampled(fids, generator, repetitions), _simulated(noise, generator, repetitions)
    )
    return [_rates(scenario) for scenario in scenarios]


def is_calibrated(rows: list[dict[str, Any]]) -> bool:
    """Whether no rate of wrong winners is above 5% by more than its own uncertainty.

    Several rates are 5% by design: each is judged at a level that lets all of them pass then.
    """
    level = ALPHA / len(rows)
    bounds = (_clopper_pearson(_wrong(row), row["comparisons"], level)[0] for row in rows)
    return all(bound <= ALPHA for bound in bounds)


def _wrong(row: dict[str, Any]) -> int:
    return round(row["wrong"] * row["comparisons"])


def sentence(rows: list[dict[str, Any]]) -> str:
    """What the rates come to."""
    row = max(rows, key=lambda row: row["wrong"])
    verdict = "It is calibrated" if is_calibrated(rows) else "IT IS NOT CALIBRATED"
    return (
        f"{verdict}: the verdict names a winner that is none in at most {row['wrong']:.2%} of "
        f"comparisons (95% interval {row['wrong_low']:.2%} to {row['wrong_high']:.2%}; "
        f"{row['truth']}, {row['blocks']} blocks, {row['seeds']} seeds); {ALPHA:.0%} is the limit."
    )


def measure_noise(fids: Values) -> Noise:
    """Level and scatter of (B, S) FIDs: an analysis of variance of their logarithms."""
    logs = np.log(fids)
    blocks, seeds = logs.shape
    effects = logs.mean(axis=1, keepdims=True) + logs.mean(axis=0) - logs.mean()
    residual = ((logs - effects) ** 2).sum() / ((blocks - 1) * (seeds - 1))
    between = max(0.0, logs.mean(axis=0).var(ddof=1) - residual / blocks)
    return Noise(float(np.exp(logs.mean())), float(between) ** 0.5, float(residual) ** 0.5)


def _largest(df: pd.DataFrame) -> Values:
    """(B, S) final FIDs of the group with most runs, over the seeds that all its blocks have."""
    tables = []
    for group in split_groups(df):
        final = group[group["final"]]
        table = final.pivot(index="block", columns="seed", values="fid")
        fids = table.loc[in_order(final["block"])].dropna(axis=1).to_numpy(dtype=np.float64)
        if fids.shape[0] >= 2 and fids.shape[1] >= 3 and (fids > 0).all():
            tables.append(fids)
    if not tables:
        raise DitbenchError("no two blocks share three seeds: there is nothing to resample", HINT)
    return max(tables, key=lambda fids: fids.size)


def _resampled(fids: Values, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """The runs as they are, but with what is to be found taken out, or with seeds left out."""
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
        yield Scenario(
            "resampled, some seeds of all",
            "the leader over all seeds",
            np.moveaxis(fids[:, chosen], 0, 1),
            best,
        )


def _simulated(noise: Noise, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """Log-normal FIDs with the scatter of the runs; and with heavier tails than any of theirs."""
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
    noise: Noise,
    generator: np.random.Generator,
    shape: tuple[int, int, int],
    *,
    heavy: bool = False,
) -> Values:
    """(R, B, S) FIDs of blocks that are equally good."""
    comparisons, _, seeds = shape
    by_seed = generator.standard_normal((comparisons, 1, seeds))
    # Student's t with 3 degrees of freedom, scaled to a standard deviation of 1.
    residual = (
        generator.standard_t(3, shape) / 3**0.5 if heavy else generator.standard_normal(shape)
    )
    fids: Values = noise.level * np.exp(noise.seed * by_seed + noise.residual * residual)
    return fids


def _rates(scenario: Scenario) -> dict[str, Any]:
    comparisons, blocks, seeds = scenario.fids.shape
    named = _winners(scenario.fids)
    nobody, best = -1, scenario.best
    wrong = int(((named != nobody) & (named != best)).sum())
    low, high = _clopper_pearson(wrong, comparisons)
    return {
        "source": scenario.source,
        "truth": scenario.truth,
        "blocks": blocks,
        "seeds": seeds,
        "comparisons": comparisons,
        "wrong": wrong / comparisons,
        "wrong_low": low,
        "wrong_high": high,
        "right": float("nan") if best is None else float((named == best).mean()),
    }


def _winners(fids: Values) -> NDArray[np.intp]:
    """The number of the block that the verdict names in each comparison, or -1."""
    leader, p_holm = against_leader(fids)
    told_apart = p_holm <= ALPHA
    np.put_along_axis(told_apart, leader[..., None], values=True, axis=-1)
    return np.where(told_apart.all(axis=-1), leader, -1)


def _clopper_pearson(count: int, number: int, level: float = ALPHA) -> tuple[float, float]:
    """The exact interval of a share, 95% unless `level` says otherwise."""
    from scipy.special import betaincinv

    tail = level / 2
    low = float(betaincinv(count, number - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, number - count, 1 - tail)) if count < number else 1.0
    return low, high
