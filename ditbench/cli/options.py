"""Options that commands share, and the parsers of their values. Torch-free."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.completion import complete_blocks, complete_places
from ditbench.cli.output import echo, emit_text, note, note_skipped, print_table, reference_results
from ditbench.errors import DitbenchError
from ditbench.models.registry import group_names
from ditbench.plugins.lookup import expand_all, shadowed
from ditbench.report.tables.columns import Column
from ditbench.report.tables.render import format_of, render

if TYPE_CHECKING:
    import pandas as pd


def option(metavar: str | None, help: str, *names: str, **settings: Any) -> Any:  # noqa: A002
    """A typer option: what stands for its value (None for a flag), and its line of help.

    Declarations are laid out by hand (`fmt: skip`): the value's name first, the help below it.
    """
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def argument(metavar: str, help: str, complete: Callable[[str], list[str]] | None = None) -> Any:  # noqa: A002
    """A typer argument, and what a shell offers for it."""
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete)


# The groups of the help page.
what = partial(option, rich_help_panel="What is trained")
how = partial(option, rich_help_panel="How long, and on what")
printed = partial(option, rich_help_panel="What is printed and written")

BLOCKS = (
    "Blocks (see `ditbench blocks`), classes of your own (./my_block.py:MyBlock) or groups, joined "
    f"by commas. Groups: {', '.join(group_names())}."
)
Blocks = Annotated[str, option("NAMES", BLOCKS, autocompletion=complete_blocks)]
AsJson = Annotated[bool, option(None, "Print JSON.", "--json")]
DEVICES = "auto, cpu, cuda, cuda:1 ..."
Device = Annotated[str, option("NAME", DEVICES)]
PICTURES = (
    "A folder or zip of images, an .npz, a folder of latents, or the name of a data set of "
    "torchvision."
)
Trust = Annotated[bool, option(None,
    "Execute the copy of your own block's file that lies in a run directory. Read it first if the "
    "run is someone else's.", "--trust")]  # fmt: skip

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


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which runs a command reads."""

    # fmt: off
    directories: Annotated[list[Path] | None, argument("DIR",
        "Directories that contain runs, at any depth. Default: `results`, or the reference runs "
        "that come with ditbench.", complete_places)] = None
    block: Annotated[str | None, option("NAMES",
        "Only these blocks or groups, joined by commas: paper, adaln-zero,none.",
        autocompletion=complete_blocks)] = None
    evaluation: Annotated[str | None, option("NAME",
        "Scores of `ditbench eval`, such as cfg1.5-ddim250-50k-inception, in place of those of the "
        "runs.", "--eval")] = None
    # fmt: on

    def load(self) -> pd.DataFrame:
        """Read them, see `load_results`; stderr names those that could not be used, and why.

        Without a complete run in `results`, they are the reference runs.
        """
        from ditbench.report.reading.results import find_runs, load_results

        places = self.directories or [Path("results")]
        if not self.directories and not any(run.is_complete() for run in find_runs(places[0])):
            own, places = places[0], [reference_results()]
            echo(f"no complete run in {own}/: these are the reference runs, {places[0]}", err=True)
        runs = load_results(places, self.block, evaluation=self.evaluation)
        note_skipped(runs.attrs["skipped"])
        return runs


@dataclass(kw_only=True)
class Table:
    """How a command writes its table."""

    # fmt: off
    format: Annotated[str | None, option("NAME",
        "rich, csv, md, latex or json. Default: by the suffix of -o, or rich.")] = None
    as_json: AsJson = False
    output: Annotated[Path | None, option("FILE",
        "Write to a file instead of stdout.", "--output", "-o")] = None
    chosen: str = field(init=False)  # the format; rich is for the terminal
    # fmt: on

    def __post_init__(self) -> None:
        if self.as_json and self.format not in (None, "json"):
            raise DitbenchError(f"--json and --format {self.format} are given together", "omit one")
        self.chosen = format_of(self.output, "json" if self.as_json else self.format)

    def check_place(self) -> None:
        """Refuse a file that cannot be written, before the work for it."""
        if self.output is not None:
            from ditbench.runs.planning.ready import check_writable

            check_writable(self.output)

    def write(
        self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str | None = None
    ) -> None:
        """Print the table, or write it to the file. Only tables for the terminal have a title."""
        if self.chosen == "rich":
            print_table(rows, columns, title)
        else:
            emit_text(render(rows, columns, self.chosen), self.output)


def unpacked(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its dataclasses as options, in the place of the dataclass."""
    parameters: list[inspect.Parameter] = []
    classes: dict[str, tuple[Any, list[str]]] = {}  # by parameter: the class, and its fields
    for own in inspect.signature(command, eval_str=True).parameters.values():
        kind = own.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            fields = inspect.signature(kind, eval_str=True).parameters.values()
            # A class comes before those that it inherits from.
            parameters += sorted(fields, key=lambda each: each.name not in kind.__annotations__)
            classes[own.name] = kind, [each.name for each in fields]
        else:
            parameters.append(own.replace(kind=own.KEYWORD_ONLY))

    def with_options(**given: Any) -> None:
        for parameter, (kind, names) in classes.items():
            given[parameter] = kind(**{name: given.pop(name) for name in names})
        command(**given)

    # What typer reads.
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    vars(with_options)["__signature__"] = inspect.Signature(parameters)
    return with_options


def refuse(what: str, unused: Mapping[str, object]) -> None:
    """A DitbenchError if an option is given (not None) that another one does not use."""
    for name, value in unused.items():
        if value is not None:
            raise DitbenchError(f"{what} does not use {name}", f"leave {name} out")


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
        raise DitbenchError(
            f"--seeds '{text}' is not a list of whole numbers of at least 0", "write --seeds 0,1,2"
        )
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
        raise DitbenchError(
            f"{name} '{text}' is not a whole number above 0", f"write {name} 8, or 20k for 20,000"
        )
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
        raise DitbenchError(
            f"{' and '.join(given)} are given together", "a run has one budget: keep one of them"
        )
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
