"""Damaged run directories: `compare` names each, and compares the others as without it."""

import os
import re
import shutil
from pathlib import Path

import pytest
from contract import assert_refused, skipped_lines
from damage import cut, edit, huge, instead, json_key, linked, pipe, removed, replaced, write
from run_copies import write_copy

DEEP = b"[" * 200_000
FILES = ("result.json", "cost.json", "eval.csv", "train.csv", "config.toml")
# What is done to a run, and what `compare` says of it.
DAMAGE = {
    "no result.json": (removed("result.json"), "incomplete"),
    "no cost.json": (removed("cost.json"), "cost.json"),
    "no eval.csv": (removed("eval.csv"), "eval.csv"),
    "result.json of schema 0": (json_key("result.json", "schema", 0), "has schema 0"),
    "result.json of schema 3": (json_key("result.json", "schema", 3), "has schema 3"),
    "result.json of schema 2 without hashes": (json_key("result.json", "schema", 2), "sha256"),
    "result.json of schema '1'": (json_key("result.json", "schema", "1"), "has schema '1'"),
    "result.json of no schema": (json_key("result.json", "schema", ...), "has schema None"),
    "result.json of schema true": (json_key("result.json", "schema", True), "schema"),
    "result.json of schema 1.0": (json_key("result.json", "schema", 1.0), "schema"),
    "result.json of schema [1]": (json_key("result.json", "schema", [1]), "has schema [1]"),
    "a schema of two lines": (json_key("result.json", "schema", "1\nskipped: x"), "\\n"),
    "NaN for seconds": (json_key("result.json", "train_seconds", float("nan")), "finite"),
    "a number of 5,000 digits": (
        replaced("result.json", '"steps": 1200', f'"steps": {"9" * 5_000}'), "not JSON"),
    "final a list": (json_key("result.json", "final", [1]), "final is missing or not a table"),
    "final empty": (json_key("result.json", "final", {}), "None in result.json"),
    "a list for result.json": (write("result.json", b"[1]"), "does not hold a JSON object"),
    "a number for cost.json": (write("cost.json", b"1"), "does not hold a JSON object"),
    "result.json nested without end": (write("result.json", DEEP), "nested too deeply"),
    "config.toml nested without end": (write("config.toml", b"a = " + DEEP[:30_000]),
                                       "nested too deeply"),
    "config.toml of a deep key": (write("config.toml", b".".join([b"a"] * 2_000) + b" = 1"),
                                  "nested too deeply"),
    "config.toml of a deeper key": (write("config.toml", b".".join([b"a"] * 50_000) + b" = 1"),
                                    "too large"),
    "config.toml with a key twice": (
        edit("config.toml", lambda text: text.replace("lr =", "lr = 0.1\nlr =")),
        "not valid TOML",
    ),
    "config.toml of 5,000 digits": (
        replaced("config.toml", "steps = 1200", "steps = " + "9" * 5_000),
        "not valid TOML",
    ),
    "config.toml of 5,000 hex digits": (
        replaced("config.toml", "steps = 1200", "steps = 0x" + "9" * 5_000),
        "bits",
    ),
    "eval.csv of NUL bytes": (write("eval.csv", b"\0" * 4_096), "eval.csv"),
    "eval.csv of one long line": (write("eval.csv", b"x," * 100_000), "eval.csv"),
    "eval.csv of a large field": (write("eval.csv", b"x" * 200_000 + b"\n1\n"), "eval.csv"),
    "eval.csv with an open quote": (
        edit("eval.csv", lambda text: text.replace("digits", '"digits', 1)),
        "eval.csv",
    ),
    "eval.csv with semicolons": (replaced("eval.csv", ",", ";"), "is missing"),
    "eval.csv with comma decimals": (replaced("eval.csv", ".", ","), "truncated or malformed"),
    "eval.csv without its header": (edit("eval.csv", lambda text: text.split("\n", 1)[1]),
                                    "eval.csv"),
    "eval.csv with a row twice": (
        edit("eval.csv", lambda text: text + text.splitlines(keepends=True)[-1]),
        "comes after",
    ),
    "eval.csv with a row too many": (
        edit(
            "eval.csv",
            lambda text: text + text.splitlines()[-1].replace("1200,153", "1300,166") + "\n",
        ),
        "ends at step 1300",
    ),
    "eval.csv of another run": (replaced("eval.csv", "8.215801520679861", "7.215801520679861"),
                                "fid is 7.2"),
    "train.csv with comma decimals": (replaced("train.csv", ".", ","), "truncated or malformed"),
    "train.csv without its header": (edit("train.csv", lambda text: text.split("\n", 1)[1]),
                                     "truncated or malformed"),
    "train.csv with a loss that is not a number": (
        edit("train.csv", lambda text: re.sub(r"(\n78,\d+,[\d.]+),[\d.]+,", r"\1,low,", text)),
        "truncated or malformed",
    ),
    **{f"{name} of no bytes": (write(name, b""), "") for name in FILES},
    **{f"{name} of random bytes": (write(name, bytes(range(256)) * 9), name) for name in FILES},
    **{f"{name} cut to half": (cut(name, 0.5), "") for name in FILES},
    **{f"{name} a directory": (instead(name, Path.mkdir), "") for name in FILES[:-1]},
    **{f"{name} a pipe": (pipe(name), "") for name in FILES},
    **{f"{name} a device": (linked(name, "/dev/zero"), "") for name in FILES},
    **{f"{name} a link to itself": (linked(name, name), "") for name in FILES[:-1]},
    **{f"{name} of ten gigabytes": (huge(name), "too large") for name in FILES},
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_named_and_changes_nothing_else(check_damaged, name):
    check_damaged(write_copy, *DAMAGE[name])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_byte_order_mark_are_read(cli, pair, tmp_path, encoding):
    """As editors of other systems write them; runs of schema 1 have no hashes."""
    kept, expected = pair
    results = shutil.copytree(kept, tmp_path / "results")
    files = ("config.toml", "env.json", "cost.json", "train.csv", "eval.csv", "result.json")
    for name in files:
        path = next(results.glob(f"*/{name}"))
        path.write_bytes(path.read_bytes().decode().replace("\n", "\r\n").encode(encoding))
    result = cli("compare", results, "--format", "csv")
    assert (result.exit_code, result.stdout) == (0, expected), result.stderr


# Ten that differ in file and kind.
TEN = (
    "no result.json",
    "result.json of schema 3",
    "result.json cut to half",
    "result.json of schema true",
    "cost.json of no bytes",
    "config.toml nested without end",
    "config.toml with a key twice",
    "eval.csv of NUL bytes",
    "eval.csv a pipe",
    "eval.csv of ten gigabytes",
)


@pytest.mark.parametrize("name", TEN)
def test_a_damaged_run_alone_is_one_line(refused, reference, tmp_path, name):
    damage, _ = DAMAGE[name]
    damage(write_copy(reference, tmp_path / "results", "damaged", 1))
    refused("compare", tmp_path / "results", parts=("no complete run", "1 skipped"))


def test_all_damaged_runs_are_listed_in_order(cli, pair, reference, tmp_path):
    results = Path(shutil.copytree(pair[0], tmp_path / "results"))
    damaged = {}
    for number, name in enumerate(TEN):
        run = write_copy(reference, results, f"adaln/damaged{number}", 100 + number)
        DAMAGE[name][0](run)
        damaged[str(run)] = DAMAGE[name][1]
    result = cli("compare", results, "--format", "csv")
    assert (result.exit_code, result.stdout) == (0, pair[1])
    for line, (path, reason) in zip(skipped_lines(result.stderr), damaged.items(), strict=True):
        assert line.startswith(f"skipped: {path}: ")
        assert reason in line


@pytest.mark.parametrize("command", ["compare", "plot"])
@pytest.mark.parametrize("name", ["a\nerror: forged", "\x1b[2J", "x" * 200, "\u202e", "[red]"])
def test_a_run_of_an_odd_name_is_listed_on_one_line(
    succeed, pair, reference, tmp_path, command, name
):
    results = shutil.copytree(pair[0], tmp_path / "results")
    DAMAGE["no result.json"][0](write_copy(reference, results, name, 1))
    output = ("-o", tmp_path / "figure.png") if command == "plot" else ()
    result = succeed(command, results, *output)
    assert len(skipped_lines(result.stderr)) == 1


def test_a_folder_that_leads_back_to_itself_is_no_endless_search(cli, pair, tmp_path):
    results = shutil.copytree(pair[0], tmp_path / "results")
    (results / "again").symlink_to(results)
    result = cli("compare", results, "--format", "csv")
    assert (result.exit_code, result.stdout) == (0, pair[1])


def test_a_pipe_in_place_of_results_is_one_line(cli, tmp_path):
    os.mkfifo(tmp_path / "results")
    assert_refused(cli("compare", tmp_path / "results"), 2, "is not a directory")


def test_a_key_that_a_newer_version_added_is_no_damage(cli, pair, reference, tmp_path):
    results = Path(shutil.copytree(pair[0], tmp_path / "results"))
    run = next(path.parent for path in results.rglob("config.toml"))
    json_key("result.json", "carbon", 1.0)(run)
    edit("config.toml", lambda text: text + "\n[carbon]\nprice = 1\n")(run)
    result = cli("compare", results, "--format", "csv")
    assert (result.exit_code, result.stderr, result.stdout) == (0, "", pair[1])
