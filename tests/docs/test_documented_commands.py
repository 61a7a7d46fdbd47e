"""Every command line in the documents is one that `ditbench` takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from command_line import COMMAND

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# In code that is indented, or after a prompt.
LINE = re.compile(r"^(?: {4,}|\$ )(?:\$ |\w+=\S+ |time |.* && )*ditbench( .*|)$", re.MULTILINE)


def command_lines(text):
    """The arguments of each call of ditbench, without its comment."""
    return [shlex.split(line, comments=True) for line in LINE.findall(text.replace("\\\n", " "))]


def parse(arguments):
    """Parse as the command line does, and execute nothing."""
    command, context = COMMAND, None
    name = "ditbench"
    while hasattr(command, "commands") and arguments:
        context = typer.Context(command, parent=context, info_name=name)
        name, command, arguments = command.resolve_command(context, arguments)
    command.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_command_lines_of_a_page_parse(page):
    refused = {}
    for arguments in command_lines(page.read_text("utf-8")):
        try:
            parse(arguments)
        except typer.Exit:  # --help
            pass
        except Exception as error:
            refused[shlex.join(arguments)] = str(error)
    assert refused == {}


def test_a_wrong_option_and_an_unknown_command_are_refused():
    found = command_lines("    a && ditbench run --no-such\n\n    $ ditbench blocks nothing a\n")
    assert found == [["run", "--no-such"], ["blocks", "nothing", "a"]]
    for arguments in found:
        with pytest.raises(typer.BadParameter.mro()[1]):
            parse(arguments)


def test_lines_are_found():
    assert len(command_lines(PAGES[0].read_text("utf-8"))) >= 8
