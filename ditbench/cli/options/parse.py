"""The values of options, from the texts in which they are given. Torch-free."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

from ditbench.cli.output.printing import note
from ditbench.errors import DitbenchError
from ditbench.plugins.lookup import expand_all, shadowed

# torch's generators take a signed 64-bit seed.
SEEDS = range(2**63)
# The largest count of seeds. A larger number is probably one seed, written without its comma.
MOST_SEEDS = 10_000

PREFIXES = {letter: 1_000**power for power, letter in enumerate(("", *"kmgtpez"))}
SECONDS = (3_600, 60, 1)  # of an hour, a minute, a second
# The bounds of budget.flops and budget.seconds in the configuration.
MOST_FLOPS = 1e30
MOST_SECONDS = 1e9

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_FLOPS = re.compile(rf"({_NUMBER}(?:e[+-]?\d{{1,3}})?)\s*([kmgtpez]?)\s*(?:f|flops?)?", re.ASCII)
_TIME = re.compile(
    rf"(?=.)(?:({_NUMBER})h)?\s*(?:({_NUMBER})m)?\s*(?:({_NUMBER})s)?", re.ASCII | re.DOTALL
)


def parse_blocks(text: str) -> list[str]:
    """Expand names of blocks or groups, or paths of classes, joined by commas; each block once."""
    for line in shadowed():
        note("warning", line)
    names = [name.strip() for name in text.split(",")]
    if "" in names and any(names):
        raise DitbenchError(f"--block '{text}' has an empty name", "join names by single commas")
    return expand_all(names)


def parse_seeds(text: str, first: int = 0) -> list[int]:
    """Parse seeds: `0,1,2` lists them, `5` counts them from `first`, `5,` is seed 5, `0` is 0.

    A count may be `MOST_SEEDS` at most.
    """
    try:
        numbers = [int(part) for part in text.strip().removesuffix(",").split(",")]
    except ValueError:
        numbers = [-1]
    if any(number not in SEEDS for number in numbers):
        what = f"--seeds '{text}' is not a list of whole numbers of at least 0"
        raise DitbenchError(what, "write --seeds 0,1,2")
    numbers = list(dict.fromkeys(numbers))
    if "," in text or numbers == [0]:
        return numbers
    (count,) = numbers
    if count > MOST_SEEDS:
        raise DitbenchError(
            f"--seeds {text} is a count of seeds above {MOST_SEEDS:,}",
            f"write --seeds {count}, with a comma for the single seed {count}, or --seeds 0,1,2",
        )
    return list(range(first, first + count))


def parse_count(text: str, name: str) -> int:
    """Parse `20000`, `20k` or `1.5M` to a whole number above 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", text.strip().lower().replace("_", ""))
    # Decimal, because 2.3 * 1,000,000 is not a whole number in binary.
    count = Decimal(match[1]) * PREFIXES[match[2]] if match else Decimal(0)
    if count < 1 or count != int(count):
        what = f"{name} '{text}' is not a whole number above 0"
        raise DitbenchError(what, f"write {name} 8, or 20k for 20,000")
    return int(count)


def parse_flops(text: str, name: str) -> float:
    """Parse `50PF`, `300 TFLOPs` or `5e16` to floating-point operations above 0.

    The prefixes k, M, G, T, P, E and Z are read in either case.
    """
    match = _FLOPS.fullmatch(text.strip().lower().replace("_", ""))
    amount = Decimal(match[1]) * PREFIXES[match[2]] if match else Decimal(0)
    return _within(amount, MOST_FLOPS, f"{name} '{text}' is not a number of FLOPs", f"{name} 50PF")


def parse_seconds(text: str, name: str) -> float:
    """Parse `10m`, `90s`, `1.5h`, `1h30m` or `600` to seconds above 0."""
    written = text.strip().lower().replace("_", "")
    if re.fullmatch(_NUMBER, written, re.ASCII):
        written += "s"
    match = _TIME.fullmatch(written)
    parts = zip(match.groups(), SECONDS, strict=True) if match else ()
    amount = sum((Decimal(part) * size for part, size in parts if part), Decimal(0))
    return _within(
        amount, MOST_SECONDS, f"{name} '{text}' is not a time", f"{name} 10m or {name} 1h30m"
    )


def _within(amount: Decimal, most: float, error: str, example: str) -> float:
    """The amount as a float, which must be above 0 and at most `most`."""
    number = float(amount)
    if not 0 < number <= most:
        raise DitbenchError(f"{error} above 0 and up to {most:.0e}", f"write {example}")
    return number


def parse_budget(steps: str | None, flops: str | None, time: str | None) -> dict[str, Any]:
    """Parse --steps, --flops or --time, at most one of them, to a key of the configuration."""
    options = {
        "--steps": ("budget.steps", steps, parse_count),
        "--flops": ("budget.flops", flops, parse_flops),
        "--time": ("budget.seconds", time, parse_seconds),
    }
    given = [name for name, (_, text, _) in options.items() if text is not None]
    if len(given) > 1:
        what = f"{' and '.join(given)} are given together"
        raise DitbenchError(what, "a run has one budget: keep one of them")
    return {
        key: parse(text, name) for name, (key, text, parse) in options.items() if text is not None
    }


def parse_rate(text: str) -> float:
    """`5e-4` as a learning rate, which must be finite. That it is above 0 is checked later."""
    with suppress(ValueError):
        if math.isfinite(rate := float(text)):
            return rate
    raise DitbenchError(f"--lr '{text}' is not a learning rate", "write --lr 5e-4")


def parse_rates(text: str) -> list[float]:
    """`1e-4,5e-4` as learning rates above 0, without duplicates, ascending."""
    rates = {parse_rate(part) for part in text.split(",")}
    if min(rates) <= 0:
        raise DitbenchError(f"--lr '{text}' is not above 0", "write --lr 1e-4,5e-4,1e-3")
    return sorted(rates)
