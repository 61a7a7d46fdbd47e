"""The application: its commands, its help pages, and how errors are printed."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ditbench import __version__
from ditbench.cli.commands import (
    bench,
    blocks,
    compare,
    encode,
    eval_,
    export,
    features,
    flops,
    init,
    list_,
    plot,
    presets,
    report,
    reproduce,
    rm,
    run,
    sample,
    settings,
    show,
    tune,
)
from ditbench.cli.options.common import unpacked
from ditbench.cli.output.printing import echo, note
from ditbench.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    LESS_MEMORY,
    DitbenchError,
    is_out_of_memory,
    one_line,
)
from ditbench.inherited import without_wrong_torch_settings
from ditbench.plugins.user_traceback import BlockError

# The base of what Typer raises for a missing option, a wrong type, ... Typer contains its own copy
# of Click and exports only this subclass.
_UsageError: type[Any] = typer.BadParameter.mro()[1]
_ACCESS = "check that it exists and that you have access"


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Print errors that a user can cause as two lines, and exit with their code.

    The traceback of an error in a user's own block is printed first.
    """
    try:
        with without_wrong_torch_settings():
            yield
    except KeyboardInterrupt:
        echo("interrupted", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except Exception as error:
        known = _in_words(error)
        if known is None:
            raise
        if isinstance(known, BlockError):
            for line in known.traceback_text.splitlines():
                echo(line, err=True)
        note("error", known.message)
        if known.hint:
            note("help", known.hint)
        raise typer.Exit(known.exit_code) from error


def _in_words(error: Exception) -> DitbenchError | None:
    """An error that a user can cause; None for others, and for those that Typer prints.

    Typer exits silently when a pipe is broken: `ditbench blocks | head -1`.
    """
    if isinstance(error, DitbenchError):
        return error
    if isinstance(error, _UsageError):
        message = error.format_message().removesuffix(".").replace(": Input ", ": ")
        message = message.partition(", unable to parse")[0]
        command = error.ctx.command_path if error.ctx else "ditbench"
        return DitbenchError(message[:1].lower() + message[1:], f"{command} --help")
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        place = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some, or write elsewhere" if full else _ACCESS
        return DitbenchError(f"{place}{error.strerror or error}", hint, EXIT_FAILED)
    if is_out_of_memory(error):
        return DitbenchError(one_line(str(error)) or "out of memory", LESS_MEMORY, EXIT_FAILED)
    return None


def _expanded(value: Any) -> Any:
    """A value of an option with `~` as the home directory: no shell expands it in `--data=~/x`."""
    if isinstance(value, tuple | list):
        return type(value)(map(_expanded, value))
    # os.path, because that of Path raises an error for a user that does not exist.
    return Path(os.path.expanduser(value)) if isinstance(value, Path) else value  # noqa: PTH111


class _Options:
    """Types of the help page: none for flags, `<path>` for several paths. Expands `~` in paths."""

    def invoke(self, ctx: Any) -> Any:
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)  # type: ignore[misc]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except _UsageError as error:
            error.ctx = error.ctx or ctx  # an option without its value has none
            raise
        return parsed

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            if parameter.nargs == -1:  # an argument; typer would show <list[Path]>
                parameter.bare_type = lambda: "path"
        return parameters


class _Command(_Options, TyperCommand): ...


class _Group(_Options, TyperGroup):
    """A group of commands; without arguments it shows its help page or does its own work."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        alone = [] if self.invoke_without_command else ["--help"]
        return super().parse_args(ctx, args or alone)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _errors_as_lines():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _errors_as_lines():
            return super().invoke(ctx)


app = typer.Typer(
    name="ditbench",
    cls=_Group,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(show: bool) -> None:  # noqa: FBT001 (typer's callbacks take the value)
    if show:
        echo(f"ditbench {__version__}")
        raise typer.Exit


# A backslash ends a line in Markdown.
HELP = """Compare ways to condition a diffusion transformer on its timestep and its class.

`ditbench run                   # four blocks on built-in digits, 6 minutes`\\
`ditbench compare               # which one is best, and how certain that is`\\
`ditbench run --data PICTURES/  # the same on your own pictures`
"""


@app.callback(help=HELP)
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """The options of ditbench itself."""


# The groups of the help page. `list` and `eval` are names of Python's own.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Train": {"run": run.run, "init": init.init, "tune": tune.tune, "encode": encode.encode},
    "Read the results": {"compare": compare.compare, "plot": plot.plot, "report": report.report},
    "Look after runs": {
        "list": list_.list_,
        "show": show.show,
        "diff": show.diff,
        "eval": eval_.eval_,
        "sample": sample.sample,
        "export": export.export,
        "reproduce": reproduce.reproduce,
        "rm": rm.rm,
    },
    "What there is to choose": {
        "blocks": blocks.blocks,
        "presets": presets.presets,
        "settings": settings.settings,
        "features": features.features,
    },
    "What it costs": {"flops": flops.flops, "bench": bench.bench},
}
for _panel, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        if _command is blocks.blocks:
            _blocks = typer.Typer(cls=_Group, invoke_without_command=True)
            _blocks.callback()(unpacked(_command))
            _blocks.command(cls=_Command)(unpacked(blocks.check))
            app.add_typer(_blocks, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, cls=_Command, rich_help_panel=_panel)(unpacked(_command))

# New objects between two garbage collections. With Python's default of some hundreds, importing
# torch triggers many.
GARBAGE_THRESHOLD = 200_000


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)
    code: object = EXIT_OK
    try:
        app(prog_name="ditbench")
    except SystemExit as error:
        code = error.code
    # Exit without destroying torch's objects one by one, which takes half a second. Files are
    # closed where they are written; only the two streams need a flush.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader of a pipe may have exited
            stream.flush()
    os._exit(code if isinstance(code, int) else EXIT_OK)
