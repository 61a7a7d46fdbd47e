"""The run directory: whole files or none, tables that grow and go back, and where runs are."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditbench.errors import DitbenchError
from ditbench.rundir import (
    TRAIN_COLUMNS,
    RunDirectory,
    append_row,
    find_runs,
    metric_suffix,
    read_json,
    read_rows,
    write_atomically,
    write_json,
    write_text,
)


@pytest.fixture
def run(tmp_path):
    return RunDirectory.of(tmp_path / "results", "digits", "adaln", 3, "0123456789abcdef")


def train_row(step):
    return {"step": step, "images": 2 * step, "seconds": step / 10, "loss": 0.1 + 0.2,
            "lr": 1e-5, "grad_norm": math.inf}  # fmt: skip


def evaluation(step):
    return {"step": step, "fid_2k": step / 7, "sampler": "euler"}


def files_below(path):
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_a_directory_is_named_by_its_run_and_made_by_its_first_file(run, tmp_path):
    assert run.path == tmp_path / "results/digits/adaln/seed3-01234567"
    assert not run.path.exists()
    run.start("seed = 3\n", {"python": "3"}, {"gmacs": 1.5})
    assert files_below(run.path) == {"config.toml", "env.json", "cost.json"}
    assert run.config.read_text() == "seed = 3\n"
    assert read_json(run.cost) == {"gmacs": 1.5}


def test_a_start_clears_what_an_earlier_attempt_left(run):
    run.append_train(train_row(1))
    run.append_evaluation(evaluation(1))
    write_text(run.samples(1), "grid")
    run.start("", {}, {})
    assert files_below(run.path) == {"config.toml", "env.json", "cost.json"}


def test_result_makes_a_run_complete(run):
    assert not run.is_complete()
    run.finish({"steps": 5, "fid": math.nan})
    assert run.is_complete()
    assert run.read_result() == {"schema": 1, "steps": 5, "fid": None}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", '{"schema": 2}', "{}"])
def test_a_result_that_is_none_is_named(run, text):
    write_text(run.result, text)
    with pytest.raises(DitbenchError, match=r"result\.json") as caught:
        run.read_result()
    assert caught.value.hint


def test_the_newest_samples_are_those_of_the_last_step(run):
    assert run.last_samples() is None
    for step in (200, 1200, 1000):
        write_text(run.samples(step), "")
    assert run.last_samples() == run.samples(1200)


# Writing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def half(file):
        file.write(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(DitbenchError, match="No space left on device") as caught:
        write_atomically(path, half)
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert files_below(tmp_path) == {"file.txt"}


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_it_may_fail_anywhere(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(*_arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(DitbenchError, match="Input/output error"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert files_below(tmp_path) == {"file.txt"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_no_matter_of_the_system_passes_through_and_leaves_nothing(tmp_path, error):
    def fail(_file):
        raise error

    with pytest.raises(error):
        write_atomically(tmp_path / "file.txt", fail)
    assert files_below(tmp_path) == set()


def test_a_process_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = (
        "import os, pathlib, sys\n"
        "from ditbench.rundir import write_atomically\n"
        "def die(file):\n"
        "    file.write(b'new'); file.flush(); os._exit(9)\n"
        "write_atomically(pathlib.Path(sys.argv[1]), die)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    assert subprocess.run(command, check=False).returncode == 9
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["folder", "file/below"])
def test_a_place_that_takes_no_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DitbenchError, match=rf"cannot write .*{name}") as caught:
        write_text(tmp_path / name, "text")
    assert caught.value.exit_code == 1
    assert files_below(tmp_path) == {"file"}


def test_a_table_that_takes_no_row_is_named(tmp_path):
    with pytest.raises(DitbenchError, match="cannot write") as caught:
        append_row(tmp_path, {"step": 1}, ["step"])
    assert caught.value.exit_code == 1


numbers = st.floats() | st.integers() | st.none() | st.text()
tables = st.dictionaries(st.text(), st.recursive(numbers, lambda n: st.lists(n, max_size=3)))


@given(tables)
def test_json_holds_no_number_that_json_has_not(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "table.json"
    write_json(path, table)

    def refuse(name):
        raise AssertionError(name)

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == json.loads(json.dumps(table), parse_constant=lambda _: None)


# Tables


def test_a_table_grows_row_by_row(run):
    for step in (1, 2):
        run.append_train(train_row(step))
    assert run.train.read_text().splitlines() == [
        ",".join(TRAIN_COLUMNS),
        "1,2,0.1,0.30000000000000004,1e-05,inf",
        "2,4,0.2,0.30000000000000004,1e-05,inf",
    ]
    assert read_rows(run.train) == [train_row(1), train_row(2)]


def test_the_order_of_a_row_does_not_matter_but_its_columns_do(run):
    run.append_evaluation({"step": 1, "fid": 2.0})
    append_row(run.evaluations, {"fid": 3.0, "step": 2}, ("step", "fid"))
    assert run.read_evaluations() == [{"step": 1, "fid": 2.0}, {"step": 2, "fid": 3.0}]
    with pytest.raises(ValueError, match="columns"):
        append_row(run.evaluations, {"step": 3}, ("step", "fid"))


def test_no_table_has_no_rows(run):
    assert run.read_evaluations() == []
    run.rewind(10)
    assert not run.path.exists()


@pytest.mark.parametrize(("step", "left"), [(0, []), (2, [1, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_rewinding_drops_later_rows_and_keeps_the_text_of_the_others(run, step, left):
    for n in (1, 2, 3):
        run.append_train(train_row(n))
        run.append_evaluation(evaluation(n))
    texts = {path: path.read_text().splitlines() for path in (run.train, run.evaluations)}
    run.rewind(step)
    for path, text in texts.items():
        assert path.read_text().splitlines() == text[: 1 + len(left)]
    run.append_train(train_row(7))
    assert [row["step"] for row in read_rows(run.train)] == [*left, 7]


@pytest.mark.parametrize("torn", ["1", "10,", "10,1.5"])
def test_a_row_that_a_crash_cut_short_is_dropped(run, torn):
    run.append_evaluation(evaluation(1))
    with run.evaluations.open("a") as file:
        file.write(torn)
    assert run.read_evaluations() == [evaluation(1)]
    run.rewind(1)
    run.append_evaluation(evaluation(2))
    assert run.read_evaluations() == [evaluation(1), evaluation(2)]


def test_rewinding_that_fails_loses_no_row(run, monkeypatch):
    for n in (1, 2, 3):
        run.append_evaluation(evaluation(n))

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(DitbenchError):
            run.rewind(2)
    assert [row["step"] for row in run.read_evaluations()] == [1, 2, 3]


@pytest.mark.parametrize("content", [b"\xff\xfe\n1\n", b"loss\n1\n", b"step\nx\n"])
def test_a_damaged_table_is_named(run, content):
    run.path.mkdir(parents=True)
    run.evaluations.write_bytes(content)
    with pytest.raises(DitbenchError, match=r"eval\.csv is damaged"):
        run.rewind(1)


# Where runs are


def test_runs_are_found_at_any_depth_in_order(tmp_path):
    for name in ("b/x/seed0-1", "a/x/seed1-1", "a/x/seed0-1", "a"):
        write_text(tmp_path / "runs" / name / "config.toml", "")
    found = [run.path.relative_to(tmp_path / "runs") for run in find_runs(tmp_path / "runs")]
    assert list(map(str, found)) == ["a", "a/x/seed0-1", "a/x/seed1-1", "b/x/seed0-1"]
    (alone,) = find_runs(tmp_path / "runs/a")
    assert alone.path == tmp_path / "runs/a"
    assert list(find_runs(tmp_path / "none")) == []


def test_reference_runs_count_while_there_are_no_others(tmp_path):
    reference = tmp_path / "reference/digits/adaln/seed0-1"
    write_text(reference / "config.toml", "")
    assert [run.path for run in find_runs(tmp_path)] == [reference]
    own = tmp_path / "digits/adaln/seed0-2"
    write_text(own / "config.toml", "")
    assert [run.path for run in find_runs(tmp_path)] == [own]
    assert [run.path for run in find_runs(tmp_path / "reference")] == [reference]


@pytest.mark.parametrize(("samples", "suffix"), [(2000, "2k"), (50_000, "50k"), (1797, "1797"),
                                                 (40, "40"), (2500, "2500")])  # fmt: skip
def test_a_metric_says_its_number_of_samples(samples, suffix):
    assert metric_suffix(samples) == suffix
