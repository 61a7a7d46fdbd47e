"""Options that commands share, and the parsers of their values. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditbench.cli.output import note
from ditbench.errors import DitbenchError
from ditbench.models.registry import group_names
from ditbench.plugins.lookup import expand_all, shadowed

Blocks = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Blocks (see `ditbench blocks`), classes of your own (./my_block.py:MyBlock) or "
        f"groups, joined by commas. Groups: {', '.join(group_names())}.",
    ),
]
Results = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="A directory that contains runs, at any depth. Default: `results`, or the reference "
        "runs that come with ditbench.",
        show_default=False,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--block",
        metavar="NAMES",
        help="Only these blocks or groups, joined by commas: paper, adaln-zero,none.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="rich, csv, md, latex or json. Default: by the suffix of -o, or rich.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout."),
]
DEVICES = "auto, cpu, cuda, cuda:1 ..."

# torch's generators take a signed 64-bit seed.
SEEDS = range(2**63)
# The largest count of seeds. A larger number is probably one seed, written without its comma.
MOST_SEEDS = 10_000


def parse_blocks(text: str) -> list[str]:
    """Expand names of blocks or groups, or paths of classes, joined by commas; each block once.

    Raises:
        DitbenchError: an unknown name; the hint offers the nearest ones.
    """
    for line in shadowed():
        note("warning", line)
    return expand_all(name.strip() for name in text.split(","))


def parse_seeds(text: str, first: int = 0) -> list[int]:
    """Parse seeds: `0,1,2` lists them, `5` counts them (0 to 4), `5,` is seed 5, `0` is seed 0.

    Args:
        text: as given.
        first: the first seed of a count.

    Raises:
        DitbenchError: any other text, and a count above `MOST_SEEDS`.
    """
    numbers = _whole_numbers(text.strip().removesuffix(","), "--seeds", SEEDS, text)
    if "," in text or numbers == [0]:
        return numbers
    (count,) = numbers
    if count > MOST_SEEDS:
        raise DitbenchError(
            f"--seeds {text} is a count of seeds above {MOST_SEEDS:,}",
            f"write --seeds {count}, with a comma for the single seed {count}, or --seeds 0,1,2",
        )
    return list(range(first, first + count))


def parse_classes(text: str) -> list[int]:
    """Parse class labels such as `0,1,2`; whether the data has them is checked later."""
    return _whole_numbers(text, "--classes", SEEDS, text)


def _whole_numbers(text: str, option: str, allowed: range, given: str) -> list[int]:
    """Parse numbers joined by commas, without repetitions."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if any(number not in allowed for number in numbers):
        raise DitbenchError(
            f"{option} '{given}' is not a list of whole numbers of at least 0",
            f"write {option} 0,1,2",
        )
    return list(dict.fromkeys(numbers))
