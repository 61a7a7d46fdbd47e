"""Option types that commands share, and the parsers of their values. Torch-free."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from ditbench.errors import DitbenchError
from ditbench.models.blocks import block_names, check_block

Blocks = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="A strategy (see `ditbench blocks`), several joined by commas, or `all`.",
    ),
]
Results = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="Where the runs are, at any depth. Default: `results`, or else the reference runs "
        "that come with ditbench.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="rich, csv, md, latex or json. Default: as the suffix of -o says, or rich.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout."),
]
DEVICES = "auto, cpu, cuda, cuda:1 ..."

MULTIPLES = {"": 1, "k": 1_000, "m": 1_000_000}
# What fits a signed 64-bit integer, in which torch's generators take their seed.
SEEDS = range(2**63)


def parse_blocks(text: str) -> list[str]:
    """`all`, or names joined by commas; an unknown one is a DitbenchError."""
    if text == "all":
        return block_names()
    return list(dict.fromkeys(check_block(name.strip()) for name in text.split(",")))


def parse_count(text: str, what: str) -> int:
    """`20000`, `20k` or `1.5M` as a whole number above 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", text.strip().lower().replace("_", ""))
    # Decimal, because 2.3 * 1,000,000 is no whole number in binary.
    count = Decimal(match[1]) * MULTIPLES[match[2]] if match else Decimal(0)
    if count < 1 or count != int(count):
        raise DitbenchError(
            f"{what} '{text}' is not a whole number above 0", f"write {what} 20000 or {what} 20k"
        )
    return int(count)


def parse_seeds(text: str) -> list[int]:
    """`0,1,2` as seeds."""
    return _whole_numbers(text, "--seeds", SEEDS)


def parse_classes(text: str) -> list[int]:
    """`0,1,2` as class labels; whether the data has them is not known here."""
    return _whole_numbers(text, "--classes", SEEDS)


def _whole_numbers(text: str, option: str, allowed: range) -> list[int]:
    """Numbers joined by commas, each once."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if any(number not in allowed for number in numbers):
        raise DitbenchError(
            f"{option} '{text}' is not a list of whole numbers from 0 on", f"write {option} 0,1,2"
        )
    return list(dict.fromkeys(numbers))
