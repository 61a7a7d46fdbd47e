"""The application: its commands, its help pages, and how errors leave the process."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ditbench import __version__
from ditbench.cli import bench, compare, features, flops, plot, run, sample, strategies, tune
from ditbench.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    DitbenchError,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# What Typer raises for a missing option, a wrong type, ... It brings a Click of its own and
# exports only this child of that class.
_UsageError: type[Any] = typer.BadParameter.mro()[1]


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Turn what a user can cause into a line, a hint and an exit code, without a traceback.

    A broken pipe (`ditbench blocks | head -1`) is left to Typer, which leaves silently.
    """
    try:
        yield
    except DitbenchError as error:
        _complain(error.message, error.hint)
        raise typer.Exit(error.exit_code) from error
    except _UsageError as error:
        message = error.format_message().removesuffix(".").replace(": Input ", ": ")
        command = error.ctx.command_path if error.ctx else "ditbench"
        _complain(message[:1].lower() + message[1:], f"{command} --help")
        raise typer.Exit(EXIT_USAGE) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror or error}", "is it there, and may you use it?")
        raise typer.Exit(EXIT_FAILED) from error
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _complain(message: str, hint: str | None) -> None:
    lines = [("error: ", "red", message), *([("help: ", "cyan", hint)] if hint else [])]
    for label, colour, text in lines:
        typer.secho(label, fg=colour, bold=True, nl=False, err=True)
        typer.echo(one_line(" ".join(text.splitlines())), err=True)


def _without_flag_types(parameters: list[Any]) -> list[Any]:
    """Options of which none says `<bool>` in the help page: a flag takes no value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


class _Group(TyperGroup):
    """A command of commands; alone, it shows its help page."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _errors_as_lines():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _errors_as_lines():
            return super().invoke(ctx)


class _Listing(_Group):
    """A command of commands that does something alone: it lists what they are about."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return TyperGroup.parse_args(self, ctx, args)


app = typer.Typer(
    name="ditbench",
    cls=_Group,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(show: bool) -> None:  # noqa: FBT001 (typer's callbacks take the value)
    if show:
        typer.echo(f"ditbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find out which way of telling a diffusion transformer its timestep and class works best."""


app.command("run", cls=_Command)(run.run)
app.command("tune", cls=_Command)(tune.tune)
app.command("compare", cls=_Command)(compare.compare)
app.command("plot", cls=_Command)(plot.plot)
app.command("flops", cls=_Command)(flops.flops)
blocks = typer.Typer(cls=_Listing, invoke_without_command=True)
blocks.callback()(strategies.blocks)
blocks.command("check", cls=_Command)(strategies.check)
app.add_typer(blocks, name="blocks")
app.command("sample", cls=_Command)(sample.sample)
app.command("bench", cls=_Command)(bench.bench)
extractors = typer.Typer(cls=_Listing, invoke_without_command=True)
extractors.callback()(features.features)
extractors.command("train", cls=_Command, hidden=True, context_settings=features.ANY_OPTIONS)(
    features.train
)
app.add_typer(extractors, name="features")


# Objects between two searches for garbage. Python's default of some hundreds has it search all that
# torch makes on import again and again.
GARBAGE_THRESHOLD = 200_000


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)
    try:
        app(prog_name="ditbench")
    except SystemExit as error:
        _leave(error.code if isinstance(error.code, int) else EXIT_OK)
    _leave(EXIT_OK)


def _leave(code: int) -> NoReturn:
    """Exit without taking torch apart object by object, which takes Python half a second.

    Files are closed where they are written; only what is left in the two streams would be lost.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader of a pipe may be gone
            stream.flush()
    os._exit(code)
