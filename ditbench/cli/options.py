"""Options that commands share, and the parsers of their values. Torch-free."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ditbench.cli.output import note
from ditbench.errors import DitbenchError
from ditbench.models.registry import group_names
from ditbench.plugins.installed import shadowed
from ditbench.plugins.lookup import expand_all


def option(metavar: str | None, help: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    """A typer option: what stands for its value (None for a flag), and its line of help."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


# The groups of the help page.
what = partial(option, rich_help_panel="What is trained")
how = partial(option, rich_help_panel="How long, and on what")
printed = partial(option, rich_help_panel="What is printed and written")

Blocks = Annotated[
    str,
    option(
        "NAMES",
        "Blocks (see `ditbench blocks`), classes of your own (./my_block.py:MyBlock) or "
        f"groups, joined by commas. Groups: {', '.join(group_names())}.",
    ),
]
Results = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="A directory that contains runs, at any depth. Default: `results`, or the reference "
        "runs that come with ditbench.",
    ),
]
Only = Annotated[
    str | None,
    option(
        "NAMES", "Only these blocks or groups, joined by commas: paper, adaln-zero,none.", "--block"
    ),
]
Format = Annotated[
    str | None,
    option("NAME", "rich, csv, md, latex or json. Default: by the suffix of -o, or rich."),
]
Output = Annotated[
    Path | None, option("FILE", "Write to a file instead of stdout.", "--output", "-o")
]
DEVICES = "auto, cpu, cuda, cuda:1 ..."

# torch's generators take a signed 64-bit seed.
SEEDS = range(2**63)
# The largest count of seeds. A larger number is probably one seed, written without its comma.
MOST_SEEDS = 10_000


def parse_blocks(text: str) -> list[str]:
    """Expand names of blocks or groups, or paths of classes, joined by commas; each block once."""
    for line in shadowed():
        note("warning", line)
    return expand_all(name.strip() for name in text.split(","))


def parse_seeds(text: str, first: int = 0) -> list[int]:
    """Parse seeds: `0,1,2` lists them, `5` counts them from `first`, `5,` is seed 5, `0` is 0.

    A count may be `MOST_SEEDS` at most.
    """
    numbers = _whole_numbers(text.strip().removesuffix(","), "--seeds", text)
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
    return _whole_numbers(text, "--classes", text)


def _whole_numbers(text: str, option: str, given: str) -> list[int]:
    """Parse numbers joined by commas, without repetitions."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if any(number not in SEEDS for number in numbers):
        raise DitbenchError(
            f"{option} '{given}' is not a list of whole numbers of at least 0",
            f"write {option} 0,1,2",
        )
    return list(dict.fromkeys(numbers))
