"""Paths as people write them: ~, the current folder, results among the images."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, write_folder

from ditbench.cli.output.printing import echo_path, emit_text, print_sentence

TREE = {f"{c}/{n}.png": encode(np.full((8, 8), 20 * c, np.uint8)) for c in range(12) for n in "ab"}
FEATURES = ("--set", "metrics.features=efficientnet-lite0")  # digits features have ten classes
ONE = ("--block", "adaln", "--quiet", "--dry-run")


@pytest.fixture
def images(tmp_path):
    return write_folder(tmp_path / "animals", TREE)


def test_a_tilde_is_expanded_in_every_path_of_the_command_line(
    succeed, results, tmp_path, monkeypatch, elsewhere
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "runs").symlink_to(results)
    run = next(results.glob("digits/adaln/seed0-*"))
    place = f"~/runs/{run.relative_to(results)}"
    for command in (
        ("compare", "~/runs", "--format", "md", "--output=~/table.md"),
        ("diff", place, place),
        ("sample", place, "--per-class", 1, "-o", "~/grid.png"),
        ("flops", "--block", "adaln", "--model", "S/8", "--output=~/cost.csv"),
    ):
        succeed(*command)
    assert {"table.md", "grid.png", "cost.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert not list(elsewhere.iterdir())


def test_data_at_home(succeed, tiny, images, untimed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for data in (
        ("--data=~/animals",),
        ("--set", "data.name=folder", "--set", "data.path=~/animals"),
    ):
        result = succeed("run", *ONE, *tiny, *FEATURES, *data, "--out=~/runs")
        assert "animals 8x8x1" in result.stdout
        assert "12 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11" in result.stdout
        assert f"{tmp_path}/runs/animals/adaln" in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", ["run", "tune"])
def test_results_among_the_images_are_refused_before_these_are_read(
    mistake, images, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(images)
    (images / "0" / "damaged.png").write_bytes(b"")  # not found: the place is checked first
    error, hint = mistake(command, "--block", "adaln", "--data", ".")
    assert error == f"error: the runs would go into results, inside of the images' folder {images}"
    assert hint == f"help: choose a place outside of it: --out {tmp_path / 'results'}"
    assert not (images / "results").exists()


@pytest.mark.parametrize("out", ["animals", "animals/0/x", "link/results", "animals/../animals/r"])
def test_every_way_into_the_images_is_seen(cli, images, tmp_path, monkeypatch, out):
    (tmp_path / "link").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    result = cli("run", "--block", "adaln", "--data", "animals", "--out", out)
    assert "inside of the images' folder animals" in result.stderr


def test_the_current_folder_is_data_with_a_name(succeed, tiny, images, untimed, monkeypatch):
    monkeypatch.chdir(images)
    for out in ("../results", ".results"):  # hidden folders are not read
        result = succeed("run", *ONE, *tiny, *FEATURES, "--data", ".", "--out", out)
        assert " on animals 8x8x1" in result.stdout


NOT_UTF8 = os.fsdecode(b"ca\xff")


@pytest.mark.parametrize(
    "options",
    [("--data", NOT_UTF8), ("--out", f"{NOT_UTF8}/results"), ("--block", f"./{NOT_UTF8}.py:B")],
)
def test_a_path_that_is_not_utf8_is_refused_before_training(mistake, tiny, elsewhere, options):
    write_folder(elsewhere / NOT_UTF8, TREE)
    (elsewhere / f"{NOT_UTF8}.py").write_text("")
    before = sorted(elsewhere.rglob("*"))
    error, hint = mistake("run", "--block", "adaln", *tiny, *options)
    assert "ca\\udcff" in error
    assert error.endswith("is not UTF-8")
    assert hint.startswith("help: rename it")
    assert sorted(elsewhere.rglob("*")) == before


def test_a_run_moved_to_such_a_path_says_so(mistake, one_run, elsewhere):
    one_run.rename(elsewhere / NOT_UTF8)
    assert mistake("sample", elsewhere / NOT_UTF8)[0].endswith("is not UTF-8")


def test_a_table_goes_through_a_pipe_or_a_link(cli, tmp_path):
    """Neither is replaced: `-o /dev/stdout` is a link to one of the two."""
    command = ("flops", "--block", "none", "--format", "csv", "-o")
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "file")
    with Path(f"/dev/fd/{os.open(pipe, os.O_RDWR)}").open(encoding="utf-8") as reader:
        for output in (pipe, link):
            result = cli(*command, output)
            assert (result.exit_code, result.stdout) == (0, ""), result.stderr
        assert reader.readline().startswith("block,")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert (tmp_path / "file").read_text().startswith("block,")


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "-o", "out.md"),
        ("plot", "-o", "out.svg"),
        ("report", "-o", "out.html"),
        ("sample", "--per-class", "1", "-o", "out.png"),
        ("sample", "--count", "1", "--export", "out.npz"),
        ("export", "-o", "out.pt"),
    ],
)
def test_every_output_goes_through_a_link(succeed, results, tmp_path, elsewhere, command):
    name, *options, output = command
    Path(output).symlink_to(tmp_path / output)
    run = next(results.glob("digits/adaln/seed0-*"))
    succeed(name, run if name in ("sample", "export") else results, *options, output)
    assert Path(output).readlink() == tmp_path / output
    assert (tmp_path / output).stat().st_size
    assert [path.name for path in elsewhere.iterdir()] == [output]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_path_is_exact_for_a_program_and_printable_on_a_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    echo_path(Path("a\u3000b\u202e"))
    emit_text("name\na\x9bb\n", None)
    expected = ["a\\u3000b\\u202e", "name", "a\\x9bb"]
    if not terminal:
        expected = ["a\u3000b\u202e", "name", "a\x9bb"]
    assert capsys.readouterr().out == "\n".join(expected) + "\n"
    print_sentence("a\u202eb")
    assert capsys.readouterr().out == "a\\u202eb\n"
