"""Write the reference of the commands and of the settings, from the code.

    python docs/reference/generate.py

`tests/docs/test_reference_pages.py` holds the committed pages to what this prints.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ditbench.cli.app import app
from ditbench.config.describe import settings as all_settings
from ditbench.config.schema import RunConfig, section_names

HERE = Path(__file__).parent
MADE = "<!-- Made by docs/reference/generate.py: change the code, not this page. -->\n"


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# --- Commands


def commands(group: Any, path: str = "ditbench") -> Iterator[tuple[str, Any]]:
    """All commands with their full names, in the order of the help page."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{path} {name}", command
            yield from commands(command, f"{path} {name}") if hasattr(command, "commands") else ()


Row = tuple[str, str, str]


def option(parameter: Any) -> Row:
    """Names, default and meaning of an argument or option."""
    names = parameter.opts + parameter.secondary_opts
    if not names[0].startswith("-"):
        names = [f"{parameter.metavar}{' ...' if parameter.nargs == -1 else ''}"]
    elif parameter.metavar:
        names = [*names[:-1], f"{names[-1]} {parameter.metavar}"]
    shown = parameter.default not in (None, False, [], ()) and not callable(parameter.default)
    default = "required" if parameter.required else f"`{parameter.default}`" if shown else ""
    return ", ".join(f"`{cell(name)}`" for name in names), default, cell(parameter.help or "")


def elsewhere(rows: list[Row], seen: dict[Row, str]) -> str:
    """Sentences that name the options which earlier commands have with the same meaning."""
    shared: dict[str, list[str]] = {}
    for row in rows:
        if row in seen:
            shared.setdefault(seen[row], []).append(row[0])
    links = (f"[{name}](#{name.replace(' ', '-')}): {', '.join(shared[name])}." for name in shared)
    return "\n".join(f"As for {link}" for link in links)


def command_page() -> str:
    """A section per command: what it does, and a row per option that no earlier command has."""
    parts = [f"# Commands\n\n{MADE}"]
    parts.append(
        "`ditbench COMMAND --help` shows the same. Results go to stdout, progress and warnings to "
        "stderr; [exit codes](../how-it-works.md#exit-codes). Settings that have no option of "
        "their own: `--set section.key=value`, see [settings](settings.md)."
    )
    seen: dict[Row, str] = {}
    for name, command in commands(typer.main.get_command(app)):
        rows = [option(p) for p in command.params if not p.hidden and p.help]
        new = [row for row in rows if row not in seen]
        parts.append(f"## {name}\n\n{(command.help or '').strip()}")
        if new:
            parts.append(table(("argument or option", "default", "meaning"), new).rstrip())
        if len(new) < len(rows):
            parts.append(elsewhere(rows, seen))
        seen |= dict.fromkeys(new, name)
    return "\n\n".join(parts) + "\n"


# --- Settings


def settings_page() -> str:
    """A section per table of the configuration, and a row per key."""
    parts = [f"# Settings\n\n{MADE}"]
    parts.append(
        "Every key of a run's configuration, with its default where no preset is given. `--set "
        "KEY=VALUE` sets one for a command, a file of `--config` or `./ditbench.toml` several: "
        "[layers](../your-images.md#ditbenchtoml). `ditbench settings` prints the same."
    )
    for section in [None, *section_names()]:
        chosen = [
            each for each in all_settings() if section == (each.key.rpartition(".")[0] or None)
        ]
        if section:
            kind: Any = RunConfig.model_fields[section].annotation
            parts.append(f"## {section}\n\n{inspect.cleandoc(kind.__doc__)}")
        rows = [(f"`{s.key}`", s.type, f"`{cell(s.default)}`", cell(s.meaning)) for s in chosen]
        if rows:
            parts.append(table(("key", "type", "default", "meaning"), rows).rstrip())
    return "\n\n".join(parts) + "\n"


PAGES = {"cli.md": command_page, "settings.md": settings_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), "utf-8")
