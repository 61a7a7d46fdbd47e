"""Parsers of amounts such as `20k`, `50PF` and `1h30m`, and of a budget. Torch-free."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ditbench.errors import DitbenchError

MULTIPLES = {"": 1, "k": 1_000, "m": 1_000_000}
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


def parse_count(text: str, what: str) -> int:
    """Parse `20000`, `20k` or `1.5M` to a whole number above 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", text.strip().lower().replace("_", ""))
    # Decimal, because 2.3 * 1,000,000 is not a whole number in binary.
    count = Decimal(match[1]) * MULTIPLES[match[2]] if match else Decimal(0)
    if count < 1 or count != int(count):
        raise DitbenchError(
            f"{what} '{text}' is not a whole number above 0", f"write {what} 20000 or {what} 20k"
        )
    return int(count)


def parse_flops(text: str, what: str) -> float:
    """Parse `50PF`, `300 TFLOPs` or `5e16` to floating-point operations above 0.

    The prefixes k, M, G, T, P, E and Z are read in either case.
    """
    match = _FLOPS.fullmatch(text.strip().lower().replace("_", ""))
    amount = Decimal(match[1]) * PREFIXES[match[2]] if match else Decimal(0)
    return _within(amount, MOST_FLOPS, f"{what} '{text}' is not a number of FLOPs", f"{what} 50PF")


def parse_seconds(text: str, what: str) -> float:
    """Parse `10m`, `90s`, `1.5h`, `1h30m` or `600` to seconds above 0."""
    written = text.strip().lower().replace("_", "")
    if re.fullmatch(_NUMBER, written, re.ASCII):
        written += "s"
    match = _TIME.fullmatch(written)
    parts = zip(match.groups(), SECONDS, strict=True) if match else ()
    amount = sum((Decimal(part) * size for part, size in parts if part), Decimal(0))
    return _within(
        amount, MOST_SECONDS, f"{what} '{text}' is not a time", f"{what} 10m or {what} 1h30m"
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
    given = [option for option, (_, text, _) in options.items() if text is not None]
    if len(given) > 1:
        raise DitbenchError(
            f"{' and '.join(given)} are given together", "a run has one budget: keep one of them"
        )
    return {
        key: parse(text, option)
        for option, (key, text, parse) in options.items()
        if text is not None
    }
