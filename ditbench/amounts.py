"""Numbers as people write them. Torch-free, and free of the rest of ditbench."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
# Numbers beyond these are written with an exponent: as decimals, they are mostly zeros.
_SMALLEST, _LARGEST = 1e-6, 1e15


def budget(unit: str, amount: float) -> str:
    """A budget of `steps`, `flops` (`50 PFLOPs`) or `seconds` (`10 min`, `2.5 h`).

    Twelve digits, so that equal texts mean equal budgets.
    """
    if unit == "steps":
        return f"{amount:,.0f} steps"
    if unit == "flops":
        power = 0
        while amount >= 1000 and power < len(_PREFIXES) - 1:
            amount, power = amount / 1000, power + 1
        return f"{amount:.12g} {_PREFIXES[power]}FLOPs"
    size, name = (3600, "h") if amount >= 7200 else (60, "min") if amount >= 120 else (1, "s")
    return f"{amount / size:.12g} {name}"


def decimals(places: int, scale: float = 1.0) -> Callable[[Any], str]:
    """A writer of numbers: `decimals(2, 1e-6)(33e6)` is `33.00`."""

    def text(value: Any) -> str:
        scaled = value * scale
        return f"{scaled:.2e}" if abs(scaled) >= _LARGEST else f"{scaled:,.{places}f}"

    return text


def significant(digits: int, least: int = 0, scale: float = 1.0) -> Callable[[Any], str]:
    """A writer of numbers of any size with at least `least` decimals.

    `significant(3, 2)` writes 0.0035 as `0.00350`, 118.64 as `118.64` and 8e-16 as `8.00e-16`.
    """

    def text(value: Any) -> str:
        scaled = value * scale
        if scaled and not _SMALLEST <= abs(scaled) < _LARGEST:
            return f"{scaled:.{digits - 1}e}"
        size = math.floor(math.log10(abs(scaled))) if scaled else 0
        return f"{scaled:,.{max(least, digits - 1 - size)}f}"

    return text


def writer(format: str) -> Callable[[Any], str]:  # noqa: A002 (the key in result.json)
    """The writer of a metric's format: `.2f` is two decimals, `.3g` three significant digits.

    Unlike Python's own, `.3g` writes an exponent for extreme numbers only.
    """
    return (decimals if format[-1] == "f" else significant)(int(format[1]))


def duration(seconds: float) -> str:
    """`5.2s`, `58s`, `9m40s`, `2h5m`: at most two units, as --time reads it."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole}s"
    big, small, names = (60, 1, "ms") if whole < 3600 else (3600, 60, "hm")
    parts = (whole // big, whole % big // small)
    return "".join(f"{part}{name}" for part, name in zip(parts, names, strict=True) if part)


def file_size(number: float) -> str:
    """A number of bytes with three digits: `940 B`, `1.24 MB`."""
    size, prefixes = float(number), iter("kMGTPE")
    unit = ""
    while size >= 999.5:
        size, unit = size / 1000, next(prefixes)
    return f"{size:.3g} {unit}B"


def counted(number: int, name: str) -> str:
    """`1 run`, `2 classes`, `1,200 runs`."""
    return f"{number:,} {plural(number, name)}"


def plural(number: int, name: str) -> str:
    """The name for so many: `run` for 1, `runs` and `classes` for others."""
    return name if number == 1 else f"{name}es" if name.endswith("s") else f"{name}s"
