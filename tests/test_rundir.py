"""The run directory: whole files or none, tables that grow and go back."""

import hashlib
import math
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from ditbench.errors import DitbenchError
from ditbench.files import TEMPORARY, read_json, write_text
from ditbench.rows import read_rows
from ditbench.rundir import RunDirectory, metric_suffix


@pytest.fixture
def run(tmp_path):
    return RunDirectory.of(tmp_path / "results", "digits", "adaln", 3, "0123456789abcdef")


@pytest.fixture
def started(run):
    """A run directory that takes rows."""
    run.start("", {}, {})
    return run


def fill(run, count):
    """So many rows in either table, and a grid for each."""
    for step in range(1, count + 1):
        run.append_train(train_row(step))
        run.append_evaluation(evaluation(step))
        write_text(run.samples(step), "grid")


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
    run.start("", {}, {})
    fill(run, 1)
    run.write_failure({"reason": "diverged"})
    write_text(run.path / f"{TEMPORARY}x", "half")
    run.start("", {}, {})
    assert files_below(run.path) == {"config.toml", "env.json", "cost.json"}


def test_a_run_says_whether_what_is_known_up_front_is_there(started):
    assert started.is_described()
    started.config.unlink()
    assert not started.is_described()
    started.describe("seed = 3", {}, {})
    assert started.is_described()


def test_result_makes_a_run_complete(started):
    run = started
    assert not run.is_complete()
    run.finish({"steps": 5, "fid": math.nan})
    assert run.is_complete()
    result = run.read_result()
    digests = result.pop("sha256")
    assert result == {"schema": 2, "steps": 5, "fid": None}
    assert digests == {
        name: hashlib.sha256((run.path / name).read_bytes()).hexdigest()
        for name in ("config.toml", "env.json", "cost.json")
    }


def test_files_that_change_after_the_end_are_found(started):
    started.append_train(train_row(1))
    started.finish({})
    result = started.read_result()
    started.check_recorded(result)
    started.append_train(train_row(2))
    with pytest.raises(DitbenchError, match=r"train\.csv was changed after the run ended"):
        started.check_recorded(result)
    started.check_recorded({"schema": 1})  # which has no hashes
    with pytest.raises(DitbenchError, match="sha256 is missing"):
        started.check_recorded({"schema": 2})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", '{"schema": 3}', "{}"])
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


# Tables


def test_no_table_has_no_rows(run):
    assert run.read_evaluations() == []
    run.check_tables(0, 0)
    run.rewind(0, 0)
    assert not run.path.exists()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_rewinding_drops_later_rows_and_keeps_the_text_of_the_others(started, count):
    fill(started, 3)
    texts = {path: path.read_text().splitlines() for path in (started.train, started.evaluations)}
    started.rewind(count, max(0, count - 1))
    kept = {started.train: count, started.evaluations: max(0, count - 1)}
    for path, text in texts.items():
        lines = path.read_text().splitlines() if path.is_file() else text[:1]
        assert lines == text[: 1 + kept[path]]
    started.append_train(train_row(7))
    assert [row["step"] for row in read_rows(started.train)] == [*(1, 2, 3)[:count], 7]


@pytest.mark.parametrize("torn", ["1", "10,", "10,1.5", "10,1.5,eul"])
def test_a_row_that_a_crash_cut_short_is_dropped(started, torn):
    started.append_evaluation(evaluation(1))
    with started.evaluations.open("a") as file:
        file.write(torn)
    assert started.read_evaluations() == [evaluation(1)]
    started.rewind(0, 1)
    started.append_evaluation(evaluation(2))
    assert started.read_evaluations() == [evaluation(1), evaluation(2)]


@pytest.mark.parametrize("torn", ["st", "step,fid_2k,sampler", "step,fid_2k,sampler\n"])
def test_a_header_that_a_crash_cut_short_is_written_again(started, torn):
    started.evaluations.write_text(torn)
    started.rewind(0, 0)
    started.append_evaluation(evaluation(1))
    assert started.read_evaluations() == [evaluation(1)]


def test_rewinding_that_fails_loses_no_row(started, monkeypatch):
    fill(started, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises(DitbenchError):
            started.rewind(2, 2)
    assert [row["step"] for row in started.read_evaluations()] == [1, 2, 3]


def test_rewinding_drops_what_is_half_there_and_the_grids_of_rows_that_go(started):
    fill(started, 3)
    started.write_failure({"reason": "diverged"})
    write_text(started.path / "samples" / f"{TEMPORARY}x", "half")
    started.rewind(3, 2)
    assert files_below(started.path) == {
        "config.toml", "env.json", "cost.json", "train.csv", "eval.csv",
        "samples/step-000001.png", "samples/step-000002.png",
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"\xff\xfe\n1\n", b"loss\n1\n", b"step\nx\n", b"step\n2\n2\n"])
def test_a_damaged_table_is_named(started, content):
    started.evaluations.write_bytes(content)
    with pytest.raises(DitbenchError, match=r"eval\.csv is damaged"):
        started.check_tables(0, content.count(b"\n") - 1)


def test_a_table_shorter_than_its_checkpoint_is_named(started):
    fill(started, 2)
    started.check_tables(2, 2)
    with pytest.raises(DitbenchError, match=r"train\.csv is damaged: it has 2 rows, .* counts 3"):
        started.check_tables(3, 2)
    with pytest.raises(DitbenchError, match=r"eval\.csv is damaged"):
        started.check_tables(2, 3)


# Checkpoints


def test_the_checkpoint_before_stays(started):
    contents = []
    for content in (b"one", b"two", b"three"):
        started.write_checkpoint(content)
        contents.append([path.read_bytes() for path in started.checkpoints])
    assert contents == [[b"one"], [b"two", b"one"], [b"three", b"two"]]
    assert files_below(started.checkpoint.parent) == {"latest.safetensors", "previous.safetensors"}


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_crash_between_renames_leaves_two_that_are_whole(started, monkeypatch, fails_at):
    for content in (b"one", b"two"):
        started.write_checkpoint(content)
    original, calls = Path.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) == fails_at:
            raise OSError(5, "Input/output error")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(DitbenchError, match="Input/output error") as caught:
            started.write_checkpoint(b"three")
    assert caught.value.exit_code == 1
    expected = {1: [b"two", b"one"], 2: [b"three", b"two", b"one"], 3: [b"three", b"two"]}
    assert [path.read_bytes() for path in started.checkpoints] == expected[fails_at]
    started.write_checkpoint(b"four")
    assert started.checkpoints[0].read_bytes() == b"four"
    assert files_below(started.checkpoint.parent) == {"latest.safetensors", "previous.safetensors"}


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.append_train(train_row(1)),
        lambda run: run.append_evaluation(evaluation(1)),
        lambda run: run.write_checkpoint(b"content"),
        lambda run: run.write_failure({}),
        lambda run: run.finish({}),
    ],
)
def test_a_directory_that_was_removed_takes_nothing_more(started, write):
    shutil.rmtree(started.path)
    with pytest.raises(DitbenchError, match="is gone: it was removed while") as caught:
        write(started)
    assert caught.value.exit_code == 1
    assert not started.path.exists()


@pytest.mark.parametrize(("samples", "suffix"), [(2000, "2k"), (50_000, "50k"), (1797, "1797"),
                                                 (40, "40"), (2500, "2500")])  # fmt: skip
def test_a_metric_says_its_number_of_samples(samples, suffix):
    assert metric_suffix(samples) == suffix
