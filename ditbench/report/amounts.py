"""Amounts of compute and time as people write them."""

from __future__ import annotations

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def flops(amount: float) -> str:
    """`5e16` -> `50 PFLOPs`. Twelve digits: different amounts stay different texts."""
    power = 0
    while amount >= 1000 and power < len(_PREFIXES) - 1:
        amount /= 1000
        power += 1
    return f"{amount:.12g} {_PREFIXES[power]}FLOPs"


def seconds(amount: float) -> str:
    """`600` -> `10 min`, `9000` -> `2.5 h`: the largest unit of which there are two."""
    for size, unit in ((3600, "h"), (60, "min")):
        if amount >= 2 * size:
            return f"{amount / size:.12g} {unit}"
    return f"{amount:.12g} s"
