"""Files are written completely or not at all, whatever fails."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditbench import files as module
from ditbench.errors import DitbenchError
from ditbench.files import (
    TEMPORARY,
    read_json,
    read_text,
    remove_leftovers,
    write_atomically,
    write_json,
    write_output,
    write_text,
)


def files_below(path):
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_a_name_that_is_not_utf8_is_escaped_in_a_text(tmp_path):
    write_text(tmp_path / "x.csv", f"run,{os.fsdecode(bytes([255]))}\n")
    assert (tmp_path / "x.csv").read_text() == "run,\\udcff\n"


@given(st.text())
def test_a_text_is_read_as_it_was_written(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text.txt"
    path.write_bytes(text.encode("utf-8-sig"))
    assert read_text(path) == text


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "x.json") == {"a": 1}


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


@pytest.mark.parametrize("target", ["file.png", "below/file.png"])
@pytest.mark.parametrize("before", [b"old", None])
def test_an_output_goes_through_a_link(tmp_path, target, before):
    link, file = tmp_path / "link.png", tmp_path / target
    if before is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(before)
    link.symlink_to(target)
    write_output(link, lambda out: out.write(b"new"))
    assert link.readlink() == Path(target)
    assert file.read_bytes() == b"new"
    assert files_below(tmp_path) == {"link.png", target}


def test_an_output_that_seeks_goes_through_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    write_output(pipe, lambda out: (out.write(b"old"), out.seek(0), out.write(b"new")))
    assert os.read(reader, 99) == b"new"
    assert pipe.is_fifo()


def test_an_output_takes_the_place_of_a_link_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    write_output(tmp_path / "loop", lambda out: out.write(b"new"))
    assert (tmp_path / "loop").read_bytes() == b"new"


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failure_at_any_step_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    path.write_text("old")
    failure = Mock(side_effect=OSError(5, "Input/output error"))
    monkeypatch.setattr(os if step == "fsync" else Path, step, failure)
    with pytest.raises(DitbenchError, match="Input/output error"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert files_below(tmp_path) == {"file.txt"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_other_errors_are_raised_unchanged_and_leave_no_file(tmp_path, error):
    with pytest.raises(error):
        write_atomically(tmp_path / "file.txt", Mock(side_effect=error))
    assert files_below(tmp_path) == set()


def test_a_process_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = (
        "import os, pathlib, sys\n"
        "from ditbench.files import write_atomically\n"
        "def die(file):\n"
        "    file.write(b'new'); file.flush(); os._exit(9)\n"
        "write_atomically(pathlib.Path(sys.argv[1]), die)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    assert subprocess.run(command, check=False).returncode == 9
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["folder", "file/below"])
def test_the_error_names_a_path_that_cannot_be_written(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DitbenchError, match=rf"cannot write .*{name}") as caught:
        write_text(tmp_path / name, "text")
    assert caught.value.exit_code == 1
    assert files_below(tmp_path) == {"file"}


numbers = st.floats() | st.integers() | st.none() | st.text()
tables = st.dictionaries(st.text(), st.recursive(numbers, lambda n: st.lists(n, max_size=3)))


@settings(max_examples=50)
@given(tables)
def test_json_contains_only_numbers_that_json_allows(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "table.json"
    write_json(path, table)
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read == json.loads(json.dumps(table), parse_constant=lambda _: None)


def test_the_file_is_synced_before_the_rename_and_the_directory_after(tmp_path, monkeypatch):
    """Only in this order does a power cut leave the old file or the new one."""
    done = []

    def note(name, original):
        def call(*arguments):
            done.append(name)
            return original(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", note("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", note("replace", Path.replace))
    monkeypatch.setattr(module, "sync_directory", note("directory", module.sync_directory))
    write_text(tmp_path / "file.txt", "text")
    assert done == ["fsync", "replace", "directory", "fsync"]


def test_a_new_directory_is_synced_too(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(module, "sync_directory", synced.append)
    write_text(tmp_path / "a" / "b" / "file.txt", "text")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_partial_files_of_a_killed_process_are_removed_at_any_depth(tmp_path):
    for name in ("samples", "checkpoints"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{TEMPORARY}abc").write_text("half")
    (tmp_path / f"{TEMPORARY}def").write_text("half")
    (tmp_path / "train.csv").write_text("whole")
    remove_leftovers(tmp_path)
    assert files_below(tmp_path) == {"train.csv"}
    remove_leftovers(tmp_path / "absent")


def test_the_cache_directory_is_the_environment_s(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DITBENCH_CACHE", str(tmp_path / "own"))
    assert module.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("DITBENCH_CACHE")
    assert module.cache_directory() == tmp_path / "xdg" / "ditbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert module.cache_directory() == tmp_path / ".cache" / "ditbench"
