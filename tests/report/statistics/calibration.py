"""How often the verdict is wrong: on resampled runs, and on simulated ones whose truth is known.

`python tests/report/statistics/calibration.py` prints the numbers in docs/statistics.md,
one row per simulation.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaincinv, stdtr

from ditbench.amounts import decimals
from ditbench.report.facts import in_order
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.looks import nominal_level
from ditbench.report.statistics.paired import ALPHA
from ditbench.report.statistics.power import EFFECTS, POWERS, residual_deviation, seeds_needed
from ditbench.report.statistics.verdict import SPIKED
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.report.statistics.paired import Values

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
SEED = 20221219  # any number: it makes the rates reproducible
# How much lower the FID of the best block is than that of the others.
BETTER = (0.1, 0.2, 0.3)
# The loss of a run has a spike with this probability, which raises its FID by a factor from here.
SPIKE_PROBABILITY = 0.5
SPIKE_FACTORS = (1.1, 1.2)

COLUMNS = (
    Column("source", "FIDs"),
    Column("truth", "Truth"),
    Column("blocks", "Blocks", "{:d}".format),
    Column("seeds", "Seeds"),
    Column("comparisons", "Comparisons", "{:,d}".format),
    Column("wrong", "Wrong winner (%)", decimals(2, 100)),
    Column("right", "Right winner (%)", decimals(1, 100)),
)
POWER_COLUMNS = (
    Column("noise", "Scatter"),
    Column("rivals", "Rivals", "{:d}".format),
    Column("effect", "Better by", "{:.0%}".format),
    *(Column(f"{p:.0%}", f"{p:.0%}", "{:d}".format) for p in POWERS),
    *(Column(f"{p:.0%} after 3", f"{p:.0%}, 3 at hand", "{:d}".format) for p in POWERS),
)


@dataclass(frozen=True)
class Noise:
    """The scatter of equally good blocks: standard deviations of the logarithm of FID.

    `level` is the geometric mean of FID, `seed` the deviation between seeds, which all blocks
    share, and `residual` that between the blocks of one seed.
    """

    level: float
    seed: float
    residual: float


@dataclass(frozen=True)
class Scenario:
    """(R, B, S) final FIDs of R comparisons; `best` is the block that is better than all others.

    `looks` are the numbers of the first seeds at which a winner may be named, each with its level;
    empty for once, at 5%. `spiked` says which runs had a loss spike. If not `is_rule`, the
    procedure is not the verdict's: it is measured to show what the rule prevents.
    """

    source: str
    truth: str
    fids: Values
    best: int | None = None
    looks: tuple[tuple[int, float], ...] = ()
    spiked: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    is_rule: bool = True


def reference_fids(name: str = "digits") -> Values:
    """(B, S) final FIDs of the paper's blocks, of the reference runs in a directory."""
    places = (REFERENCE / "pilot" / name, REFERENCE / name)
    runs = load_results(next(place for place in places if place.is_dir()), "paper")
    table = runs[runs["final"]].pivot(index="block", columns="seed", values="fid")
    table = table.loc[in_order(table.index)].dropna(axis="columns")
    return table.to_numpy(dtype=np.float64)


def calibrate(fids: Values, repetitions: int) -> list[dict[str, Any]]:
    """The rates of wrong and right winners in comparisons of known truth.

    A winner is wrong if no block is better, or if another one is.
    """
    generator = np.random.default_rng(SEED)
    noise = measure_noise(fids)
    scenarios = itertools.chain(
        _resampled(fids, generator, repetitions),
        _equal(noise, generator, repetitions),
        _better(noise, generator, repetitions),
        _looks(noise, generator, repetitions),
        _spikes(noise, generator, repetitions),
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
    residual = residual_deviation(logs)
    between = max(0.0, logs.mean(axis=0).var(ddof=1) - residual**2 / len(logs))
    return Noise(float(np.exp(logs.mean())), float(between) ** 0.5, residual)


def winners(fids: Values, level: float = ALPHA, spiked: Values | None = None) -> Values:
    """The winner of each of (R, B, S) comparisons by the rule of `decide`, or -1."""
    logs = np.log(fids)
    leader = logs.mean(axis=-1).argmin(axis=-1)
    differences = logs - np.take_along_axis(logs, leader[..., None, None], axis=-2)
    p_values = paired_p_values(differences)
    np.put_along_axis(p_values, leader[..., None], 0.0, axis=-1)
    named = p_values.max(axis=-1) <= level
    if spiked is not None:
        named &= ~spikes_decide(differences, spiked, leader, p_values, level)
    return np.where(named, leader, -1)


def spikes_decide(differences, spiked, leader, p_values, level):
    """Whether a rival that is not certainly more than `SPIKED` times worse has more spikes."""
    counts = spiked.sum(axis=-1)
    more = counts > np.take_along_axis(counts, leader[..., None], axis=-1)
    # Its interval begins above `SPIKED` exactly if that ratio is rejected from above.
    further = differences - np.log(SPIKED)
    far = (further.mean(axis=-1) > 0) & (paired_p_values(further) < level)
    return (more & ~far).any(axis=-1)


def paired_p_values(differences: Values) -> Values:
    """(..., S) paired differences to the two-sided p values (...) of t tests.

    If the differences do not vary at all, 0, or 1 if they are all 0.
    """
    n = differences.shape[-1]
    mean = differences.mean(axis=-1)
    error = differences.std(axis=-1, ddof=1) / n**0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stdtr(n - 1, -np.abs(mean) / error)
    return np.where((error == 0) & (mean == 0), 1.0, p)


def _resampled(fids: Values, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """The runs themselves, but with blocks exchanged or with seeds left out."""
    blocks, seeds = fids.shape
    shuffled = np.broadcast_to(fids, (number, blocks, seeds))
    exchanged = generator.permuted(shuffled, axis=1)
    yield Scenario("resampled, blocks exchanged within each seed", "none is better", exchanged)
    best = int(np.log(fids).mean(axis=1).argmin())
    for size in range(3, seeds + 1):
        chosen = np.array(list(itertools.combinations(range(seeds), size)))
        subsets = np.moveaxis(fids[:, chosen], 0, 1)
        yield Scenario("resampled, some seeds of all", "the leader over all seeds", subsets, best)


def _equal(noise: Noise, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """No block is better than all others."""
    for blocks, seeds in itertools.product((2, 4, 14), (2, 3, 5, 10)):
        fids = _draw(noise, generator, (number, blocks, seeds))
        yield Scenario("simulated", "none is better", fids)
    for blocks, seeds in itertools.product((4, 14), (3, 5, 10)):
        worse = np.where(np.arange(blocks) < 2, 1.0, 1.4)[:, None]
        fids = worse * _draw(noise, generator, (number, blocks, seeds))
        yield Scenario("simulated", "two are equal, the others 40% worse", fids)
    for seeds in (3, 5, 10):
        fids = _draw(noise, generator, (number, 2, seeds), heavy=True)
        yield Scenario("simulated, heavy tails", "none is better", fids)


def _better(noise: Noise, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    for effect, blocks, seeds in itertools.product(BETTER, (4, 14), (3, 5, 10)):
        better = np.where(np.arange(blocks) < 1, 1 - effect, 1.0)[:, None]
        fids = better * _draw(noise, generator, (number, blocks, seeds))
        yield Scenario("simulated", f"one is {effect:.0%} better", fids, 0)


def _looks(noise: Noise, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """Two equal blocks whose seeds are added to until one is named."""
    for sizes in ((3, 5), (3, 5, 10), tuple(range(3, 11))):
        fids = _draw(noise, generator, (number, 2, sizes[-1]))
        level = nominal_level(sizes)
        kinds = {
            "5% at each look": tuple((size, ALPHA) for size in sizes),
            f"{level:.2%} at each look": tuple((size, level) for size in sizes),
        }
        for kind, looks in kinds.items():
            is_rule = looks[0][1] == level
            yield Scenario(f"simulated, {kind}", "none is better", fids, None, looks, None, is_rule)
    # The first plan did not know of a second one.
    looks = ((3, ALPHA), (5, nominal_level((3, 5))))
    fids = _draw(noise, generator, (number, 2, 5))
    source = f"simulated, 5% at 3 seeds, {looks[1][1]:.2%} after a second plan of 5"
    yield Scenario(source, "none is better", fids, None, looks, None, is_rule=False)


def _spikes(noise: Noise, generator: np.random.Generator, number: int) -> Iterator[Scenario]:
    """Equal blocks, of which one has spikes that raise its FID."""
    low, high = SPIKE_FACTORS
    for blocks, seeds in itertools.product((2, 4), (3, 5, 10)):
        fids = _draw(noise, generator, (number, blocks, seeds))
        spiked = np.zeros(fids.shape, dtype=np.bool_)
        spiked[:, 0] = generator.random((number, seeds)) < SPIKE_PROBABILITY
        fids = np.where(spiked, generator.uniform(low, high, fids.shape), 1.0) * fids
        worse = np.where(np.arange(blocks) < 2, 1.0, 1.4)[:, None]
        truth = "one spikes" if blocks == 2 else "one of two equal spikes, two are 40% worse"
        yield Scenario("simulated, spikes ignored", truth, worse * fids, is_rule=False)
        yield Scenario("simulated", truth, worse * fids, spiked=spiked)


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
    named = np.full(comparisons, -1)
    for size, level in scenario.looks or ((seeds, ALPHA),):
        spiked = None if scenario.spiked is None else scenario.spiked[..., :size]
        found = winners(scenario.fids[..., :size], level, spiked)
        named = np.where(named == -1, found, named)
    best = scenario.best
    return {
        "source": scenario.source,
        "truth": scenario.truth,
        "blocks": blocks,
        "seeds": ", ".join(str(size) for size, _ in scenario.looks) or str(seeds),
        "comparisons": comparisons,
        "wrong": float(((named != -1) & (named != best)).mean()),
        "right": float("nan") if best is None else float((named == best).mean()),
        "is_rule": scenario.is_rule,
    }


def power_table() -> list[dict[str, Any]]:
    """How many seeds it takes, for the scatter of reference runs."""
    rows = []
    for name in ("digits", "cifar10", "cifar10-ddpm"):
        residual = measure_noise(reference_fids(name)).residual
        for rivals, effect in itertools.product((1, 3, 13), EFFECTS):
            known = (-np.log(1 - effect), residual)
            rows.append(
                {"noise": f"{name}, {residual:.1%}", "rivals": rivals, "effect": effect}
                | {f"{p:.0%}": seeds_needed(*known, p, rivals) for p in POWERS}
                | {f"{p:.0%} after 3": seeds_needed(*known, p, rivals, 3) for p in POWERS}
            )
    return rows


if __name__ == "__main__":
    rows = calibrate(reference_fids(), 20_000)
    marked = [row | {"source": row["source"] + " *" * (not row["is_rule"])} for row in rows]
    print(render(marked, COLUMNS, "md"))
    print(render(power_table(), POWER_COLUMNS, "md"), end="")
