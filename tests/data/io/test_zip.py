from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from pictures import grey, packed, write_zip
from refusal import refuse

from ditbench.data.io import files as zips

if TYPE_CHECKING:
    from pathlib import Path

TREE = {"cat/1.png": grey(1), "dog/1.png": grey(2)}


def test_names_and_contents(tmp_path: Path):
    with zips.ZipFiles(write_zip(tmp_path / "a.zip", TREE | {"eel/": b""})) as files:
        assert files.names() == ["cat/1.png", "dog/1.png", "eel/"]
        assert files.read("dog/1.png") == TREE["dog/1.png"]


def test_member_that_expands_to_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zips, "MAX_FILE_BYTES", 10)
    refuse(write_zip(tmp_path / "a.zip", TREE), "cat/1.png", "too large")


def test_not_a_zip(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"not a zip at all")
    refuse(tmp_path / "a.zip", "a.zip is not a readable zip")


def test_truncated(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(packed(TREE)[:100])
    refuse(tmp_path / "a.zip", "a.zip is not a readable zip")


def test_damaged_member(tmp_path: Path):
    data = bytearray(packed({"x/1.png": grey(1)}, zipfile.ZIP_STORED))
    data[len("x/1.png") + 30 + 20] ^= 0xFF  # inside of the stored member: its checksum fails
    (tmp_path / "a.zip").write_bytes(bytes(data))
    refuse(tmp_path / "a.zip", "x/1.png cannot be unpacked")


def test_empty(tmp_path: Path):
    refuse(write_zip(tmp_path / "a.zip", {}), "no class folders")


@pytest.mark.parametrize(
    "name", ["../x/1.png", "x/../../1.png", "/x/1.png", "C:/x/1.png", "x\\..\\..\\1.png"]
)
def test_names_that_point_outside(tmp_path: Path, name: str):
    path = write_zip(tmp_path / "a.zip", TREE | {name: grey(1)})
    refuse(path, "points outside of the zip", repr(name))
