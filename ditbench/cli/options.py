"""Option types that commands share, and the parsers of their values. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditbench.errors import DitbenchError
from ditbench.models.blocks import expand_all, group_names, shadowed

Blocks = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="A strategy (see `ditbench blocks`) or a class of your own (./my_block.py:MyBlock), "
        f"several joined by commas, or a group: {', '.join(group_names())}.",
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
Only = Annotated[
    str | None,
    typer.Option(
        "--block",
        metavar="NAMES",
        help="Only these strategies or groups, joined by commas: paper, adaln-zero,none.",
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

# What fits a signed 64-bit integer, in which torch's generators take their seed.
SEEDS = range(2**63)
# Of a count of seeds: more is rather one seed, written without its comma.
MOST_SEEDS = 10_000


def parse_blocks(text: str) -> list[str]:
    """Names of strategies or groups, or places of classes, joined by commas, each strategy once.

    Raises:
        DitbenchError: for a name of neither; the nearest names are offered.
    """
    for line in shadowed():
        typer.echo(f"warning: {line}", err=True)
    return expand_all(name.strip() for name in text.split(","))


def parse_seeds(text: str, first: int = 0) -> list[int]:
    """`0,1,2` as seeds; one number alone counts them, `5` is 0 to 4; `5,` is seed 5.

    `0` is seed 0, because no seeds at all are nothing to ask for.

    Args:
        text: as given.
        first: of the seeds that a number alone counts.

    Raises:
        DitbenchError: for anything else, and a count above `MOST_SEEDS`.
    """
    numbers = _whole_numbers(text.strip().removesuffix(","), "--seeds", SEEDS, text)
    if "," in text or numbers == [0]:
        return numbers
    (count,) = numbers
    if count > MOST_SEEDS:
        raise DitbenchError(
            f"--seeds {text} is a count of seeds, and above {MOST_SEEDS:,}",
            f"write --seeds {count}, with a comma for seed {count} alone, or --seeds 0,1,2",
        )
    return list(range(first, first + count))


def parse_classes(text: str) -> list[int]:
    """`0,1,2` as class labels; whether the data has them is not known here."""
    return _whole_numbers(text, "--classes", SEEDS, text)


def _whole_numbers(text: str, option: str, allowed: range, given: str) -> list[int]:
    """Numbers joined by commas, each once."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if any(number not in allowed for number in numbers):
        raise DitbenchError(
            f"{option} '{given}' is not a list of whole numbers from 0 on", f"write {option} 0,1,2"
        )
    return list(dict.fromkeys(numbers))
