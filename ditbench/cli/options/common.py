"""How options are declared, and those that many commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench.cli.options.completion import complete_blocks, complete_places
from ditbench.cli.output.printing import (
    echo,
    emit_text,
    note_skipped,
    print_table,
    reference_results,
)
from ditbench.errors import DitbenchError
from ditbench.models.registry import group_names
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
