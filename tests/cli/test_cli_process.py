"""What only a process shows: exit codes, streams, imports, pipes; and the help pages."""

import errno
import json
import subprocess
import sys
from unittest.mock import Mock

import pytest

from ditbench.cli.app import COMMANDS as PANELS

COMMANDS = [*(name for panel in PANELS.values() for name in panel), "blocks check"]
MAIN = (sys.executable, "-m", "ditbench")


def start(*arguments, **options):
    command = [*MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_and_errors_import_no_torch():
    """Nor do reports: test_cli_own_block.py."""
    program = (
        "import sys\n"
        "from ditbench.cli import app\n"
        "for command in ('--help', 'run --help', 'tune --help', 'compare nowhere'):\n"
        "    try:\n"
        "        app(command.split())\n"
        "    except SystemExit:\n"
        "        assert 'torch' not in sys.modules, command\n"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


def test_a_process_keeps_data_and_complaints_apart(results):
    result = start("compare", results, "--format", "csv")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("block,")
    result = start("compare", results, "--format", "cvs")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: unknown format 'cvs'\nhelp: did you mean csv?\n"


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "RESULTS"],
                                       ["compare", "RESULTS", "--format", "csv"]])  # fmt: skip
def test_a_reader_that_leaves_is_no_error_to_show(arguments, results):
    command = [*MAIN, *(str(results) if part == "RESULTS" else part for part in arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_version(cli):
    assert cli("--version").stdout.startswith("ditbench ")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_page_is_complete_and_in_words(cli, command):
    result = cli(*command.split(), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    # The last one would be a word that is cut.
    words = ("<bool>", "<str>...", "list[", "range>", "None", "Annotated", "DitbenchError", "…")
    for word in words:
        assert word not in result.stdout
    assert f"Usage: ditbench {command} " in result.stdout


def test_without_a_command_it_shows_its_help_page(cli):
    result = cli()
    assert (result.exit_code, result.stdout) == (0, cli("--help").stdout)


def test_json_is_printed_by_every_command_with_formats(cli, mistake):
    """`--json` is another name of `--format json`."""
    for command in COMMANDS:
        page = cli(*command.split(), "--help").stdout
        assert "--format" not in page or "--json" in page, command
    assert json.loads(cli("flops", "--block", "none", "--json").stdout)[0]["block"] == "none"
    for command in ("presets", "features"):
        assert "given together" in mistake(command, "--json", "--format", "csv")[0]


def test_ctrl_c_while_it_starts_is_a_line():
    code = (
        "import ditbench.inherited as inherited\n"
        "def interrupted(): raise KeyboardInterrupt\n"
        "inherited.prepare_process = interrupted\n"
        "from ditbench.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_full_disk_is_said_of_stdout_too(monkeypatch, cli):
    monkeypatch.setattr(
        "ditbench.cli.commands.presets.print_wrapped",
        Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")),
    )
    result = cli("presets")
    assert result.exit_code == 1
    hint = "help: free some, or write elsewhere"
    assert result.stderr.splitlines() == ["error: No space left on device", hint]
