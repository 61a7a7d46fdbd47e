"""`settings`, `presets`, the help page without a command, and what a shell completes."""

import csv
import io
import json

import pytest

from ditbench.cli.options.completion import MOST_DIRECTORIES, complete_places, complete_runs
from ditbench.config.load import presets
from ditbench.config.schema import keys


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def _fits(text):
    return max(map(len, text.splitlines())) <= 80


def test_settings_lists_every_key_in_80_characters(cli):
    result = cli("settings")
    assert (result.exit_code, result.stderr) == (0, "")
    assert _fits(result.stdout)
    lines = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert [line.partition(" = ")[0] for line in lines] == keys()
    assert "train.lr = 0.001  (number above 0)" in lines


def test_settings_shows_one_key_or_section(cli):
    assert cli("settings", "eval.points").stdout.startswith("eval.points = 6  (whole number")
    rows = list(csv.DictReader(io.StringIO(cli("settings", "train", "--format", "csv").stdout)))
    assert [row["key"] for row in rows] == [key for key in keys() if key.startswith("train.")]
    assert len(json.loads(cli("settings", "--json").stdout)) == len(keys())
    result = cli("settings", "lr")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: unknown key 'lr'\nhelp: did you mean train.lr?\n"


def test_presets_are_listed_with_what_was_measured(cli):
    result = cli("presets")
    assert (result.exit_code, result.stderr) == (0, "")
    table = result.stdout[: result.stdout.index("Minutes")]
    assert _fits(table)
    assert [line.split()[0] for line in table.splitlines()[2:]] == presets()
    rows = {row["preset"]: row for row in json.loads(cli("presets", "--json").stdout)}
    assert f"{rows['digits']['fid']:.2f} ±" in table
    assert rows["digits"]["device"] in table
    assert rows["cifar10"]["images"] in result.stdout
    assert rows["digits"]["batch_size"] == 128


def test_the_page_without_a_command_begins_with_three_examples(cli):
    page = cli().stdout
    assert _fits(page)
    before, _, commands = page.partition(" Train ")
    examples = [line.strip() for line in before.splitlines() if line.startswith(" ditbench ")]
    assert len(examples) == 3
    assert [line.split()[1] for line in examples] == ["run", "compare", "run"]
    for command in ("run", "compare", "settings", "presets", "blocks", "bench"):
        assert f"│ {command} " in commands


def _complete(cli, monkeypatch, *words):
    monkeypatch.setenv("COMP_WORDS", " ".join(("ditbench", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_DITBENCH_COMPLETE", "complete_bash")
    return cli().stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["prese"], ["presets"]),
        (["run", "--block", "joi"], ["joint"]),
        (["run", "--block", "adaln,adaln-z"], ["adaln,adaln-zero", "adaln,adaln-zero-init"]),
        (["run", "--block", "none,no"], ["none,no-time"]),
        (["run", "--preset", "dig"], ["digits"]),
        (["tune", "--set", "train.l"], ["train.lr="]),
        (["settings", "bud"], ["budget", "budget.steps", "budget.flops", "budget.seconds"]),
        (["compare", "--block", "contr"], ["controls"]),
        (["blocks", "check", "u-"], ["u-vit"]),
        (["bench", "--block", "hyb"], ["hybrid"]),
    ],
)
def test_a_shell_completes_names(cli, monkeypatch, words, offered):
    assert _complete(cli, monkeypatch, *words) == offered


@pytest.mark.parametrize("start", ["", "res", "./results/", "results/digits/ada"])
@pytest.mark.parametrize("command", ["show", "rm", "sample", "diff"])
def test_a_shell_completes_run_directories(cli, monkeypatch, elsewhere, command, start):
    run = elsewhere / "results" / "digits" / "adaln" / "seed0-01234567"
    (run / "samples").mkdir(parents=True)
    (run / "config.toml").touch()
    dot = "./" * start.startswith("./")
    expected = f"{dot}results/digits/adaln/seed0-01234567"
    assert _complete(cli, monkeypatch, command, start) == [expected]
    places = complete_places(start)
    assert places[-1] == expected
    assert places[:-1] == [
        place for place in (f"{dot}results", f"{dot}results/digits", f"{dot}results/digits/adaln")
        if place.startswith(start)
    ]  # fmt: skip


def test_nothing_to_complete_is_nothing(elsewhere):
    assert complete_runs("") == complete_runs("nowhere/x") == complete_places("") == []


def test_a_search_for_runs_ends(monkeypatch):
    searched = []

    def walk(_place):
        while True:
            searched.append(1)
            yield "x", [], []

    monkeypatch.setattr("os.walk", walk)
    assert complete_runs("/x") == []
    assert len(searched) == MOST_DIRECTORIES + 1


@pytest.mark.parametrize(
    ("command", "last"), [("blocks", "449.0 119.35  0.68"), ("presets", "H200")]
)
def test_a_narrow_terminal_cuts_no_column_off(cli, monkeypatch, command, last):
    monkeypatch.setattr("ditbench.cli.output.printing.PIPE_WIDTH", 60)
    shown = cli(command).stdout
    assert last in shown
    assert max(len(line) for line in shown.partition("Minutes")[0].splitlines()) == 60
