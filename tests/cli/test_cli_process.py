"""What only a process shows: exit codes, streams, imports, pipes; and the help pages."""

import subprocess
import sys

import pytest

COMMANDS = (
    "run",
    "tune",
    "compare",
    "plot",
    "flops",
    "bench",
    "blocks",
    "blocks check",
    "sample",
    "eval",
    "features",
    "settings",
    "presets",
)
MAIN = (sys.executable, "-m", "ditbench")


def start(*arguments, **options):
    command = [*MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["tune", "--help"],
                                       ["compare", "RESULTS"],
                                       ["plot", "RESULTS", "-o", "OUT/figure.png"],
                                       ["compare", "nowhere"]])  # fmt: skip
def test_telling_imports_no_torch(arguments, results, tmp_path):
    known = {"RESULTS": str(results), "OUT/figure.png": str(tmp_path / "figure.png")}
    program = (
        "import sys\n"
        "from ditbench.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, *(known.get(part, part) for part in arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "AssertionError" not in result.stderr
    assert result.returncode == (2 if "nowhere" in arguments else 0)


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
    for word in ("<bool>", "<str>...", "list[", "range>", "None", "Annotated", "DitbenchError"):
        assert word not in result.stdout
    assert f"Usage: ditbench {command} " in result.stdout


def test_without_a_command_it_shows_its_help_page(cli):
    result = cli()
    assert (result.exit_code, result.stdout) == (0, cli("--help").stdout)
