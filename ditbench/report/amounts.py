"""Numbers as people write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def flops(amount: float) -> str:
    """`5e16` -> `50 PFLOPs`. Twelve digits, so that different amounts have different texts."""
    power = 0
    while amount >= 1000 and power < len(_PREFIXES) - 1:
        amount /= 1000
        power += 1
    return f"{amount:.12g} {_PREFIXES[power]}FLOPs"


def seconds(amount: float) -> str:
    """`600` -> `10 min`, `9000` -> `2.5 h`: the largest unit that gives at least 2."""
    for size, unit in ((3600, "h"), (60, "min")):
        if amount >= 2 * size:
            return f"{amount / size:.12g} {unit}"
    return f"{amount:.12g} s"


def budget(unit: str, amount: float) -> str:
    """A budget of `steps`, `flops` or `seconds`. Equal texts mean equal budgets."""
    writers = {"flops": flops, "seconds": seconds}
    return writers.get(unit, "{:,} steps".format)(amount)


def suffix(samples: int) -> str:
    """The number of samples in a metric's title: 2000 -> `2K`, 1797 -> `1797`."""
    return metric_suffix(samples).upper()


def decimals(places: int, scale: float = 1.0) -> Callable[[Any], str]:
    """A writer of numbers: `decimals(2, 1e-6)(33e6)` is `33.00`."""
    return lambda value: f"{value * scale:,.{places}f}"


def significant(digits: int, least: int = 0, scale: float = 1.0) -> Callable[[Any], str]:
    """A writer of numbers of any size with at least `least` decimals.

    `significant(3, 2)` writes 0.0035 as `0.00350` and 118.64 as `118.64`.
    """

    def text(value: Any) -> str:
        scaled = value * scale
        size = math.floor(math.log10(abs(scaled))) if scaled else 0
        return f"{scaled:,.{max(least, digits - 1 - size)}f}"

    return text


def writer(format: str) -> Callable[[Any], str]:  # noqa: A002 (the key in result.json)
    """The writer of a metric's format: `.2f` is two decimals, `.3g` three significant digits.

    Unlike Python's own, `.3g` never writes an exponent.
    """
    return (decimals if format[-1] == "f" else significant)(int(format[1]))
