"""Tables that are appended row by row, and their state after a crash."""

import os
from unittest.mock import Mock

import pytest

from ditbench.errors import DitbenchError
from ditbench.rows import append_row, read_rows

COLUMNS = ("step", "fid", "features")
ROW = {"step": 3, "fid": 0.1 + 0.2, "features": "digits"}


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table.csv"


def test_a_row_is_read_as_it_was_written(table):
    for _ in range(2):
        append_row(table, ROW, COLUMNS)
    assert (
        table.read_text().splitlines()
        == ["step,fid,features"] + ["3,0.30000000000000004,digits"] * 2
    )
    assert read_rows(table) == [ROW, ROW]


def test_a_byte_order_mark_is_not_part_of_the_first_column(table):
    append_row(table, ROW, COLUMNS)
    table.write_text("\ufeff" + table.read_text().replace("\n", "\r\n"), encoding="utf-8")
    assert read_rows(table) == [ROW]


def test_a_table_with_a_byte_order_mark_grows(table):
    append_row(table, ROW, COLUMNS)
    table.write_text("\ufeff" + table.read_text(), encoding="utf-8")
    append_row(table, ROW, COLUMNS)
    assert read_rows(table) == [ROW, ROW]


def test_a_missing_table_has_no_rows(table):
    assert read_rows(table) == []


def test_the_error_names_a_table_that_cannot_be_written(tmp_path):
    with pytest.raises(DitbenchError, match="cannot write") as caught:
        append_row(tmp_path, {"step": 1}, ["step"])
    assert caught.value.exit_code == 1


def test_the_order_of_a_row_does_not_matter_but_its_columns_do(table):
    append_row(table, {"step": 1, "fid": 2.0}, ("step", "fid"))
    append_row(table, {"fid": 3.0, "step": 2}, ("step", "fid"))
    assert read_rows(table) == [{"step": 1, "fid": 2.0}, {"step": 2, "fid": 3.0}]
    with pytest.raises(ValueError, match="columns"):
        append_row(table, {"step": 3}, ("step", "fid"))


def test_a_table_of_another_version_is_not_appended_to(table):
    """The numbers would be in the wrong columns of its header."""
    append_row(table, {"step": 1, "kid": 2.0}, ("step", "kid"))
    before = table.read_text()
    with pytest.raises(DitbenchError, match=r"its columns are not step,fid") as caught:
        append_row(table, {"step": 2, "fid": 2.0}, ("step", "fid"))
    assert caught.value.exit_code == 1
    assert table.read_text() == before


@pytest.mark.parametrize("length", range(1, len("3,0.30000000000000004,digits\n")))
def test_a_truncated_row_is_ignored(table, length):
    """Even within its last cell, where all columns are present but the number is wrong."""
    columns = ("features", "step", "fid")
    for _ in range(2):
        append_row(table, ROW, columns)
    text = table.read_text()
    table.write_text(text[:-length])
    assert read_rows(table) == [ROW]


@pytest.mark.parametrize("length", range(len("step,fid,features") + 1))
def test_a_truncated_header_is_not_a_table(table, length):
    table.write_text("step,fid,features"[:length])
    assert read_rows(table) == []


@pytest.mark.parametrize("content", [b"\xff\xfe\n1\n", b'step\n"1\n' + b"x" * 200_000 + b"\n"])
def test_the_error_names_a_file_that_is_not_a_table(table, content):
    table.write_bytes(content)
    with pytest.raises(DitbenchError, match=r"table\.csv is damaged") as caught:
        read_rows(table)
    assert caught.value.hint


def test_a_row_is_synced_when_append_returns(table, monkeypatch):
    """A checkpoint counts it: if rows were missing after a power cut, the run could not resume."""
    seen = []
    original = os.fsync

    def fsync(descriptor):
        seen.append(table.read_text().count("\n"))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    append_row(table, ROW, COLUMNS)
    append_row(table, ROW, COLUMNS)
    assert seen == [2, 2, 3]  # the second syncs the directory entry of the new file


def test_a_disk_that_becomes_full_within_a_row_is_one_error(table, monkeypatch):
    append_row(table, ROW, COLUMNS)

    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(DitbenchError, match=r"cannot write .*table\.csv: No space") as caught:
        append_row(table, ROW, COLUMNS)
    assert caught.value.exit_code == 1
