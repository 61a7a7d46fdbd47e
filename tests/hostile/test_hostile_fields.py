"""Every field of a run, damaged in every way: the run is read or refused in one line.

Of a run of schema 2, any change of a file but result.json is found. Schema 1 has no hashes: a value
that is replaced by another one of its kind is read as it stands.
"""

import json

import pytest
import tomli_w
from contract import assert_one_line, in_time
from hypothesis import given, settings
from hypothesis import strategies as st
from run_copies import REFERENCE, write_copy

from ditbench.config import read_toml
from ditbench.config.schema import flatten
from ditbench.errors import DitbenchError, one_line
from ditbench.report.reading.run import read_run
from ditbench.rundir import RunDirectory

SOURCE = min(REFERENCE.glob("pilot/digits/cross-attention/seed0-*"))
OTHER = min(REFERENCE.glob("pilot/digits/in-context/seed0-*"))
RECORDED = ("config.toml", "env.json", "cost.json", "train.csv", "eval.csv")
VALUES = [None, True, False, 0, -1, 1, 7, 1.5, -0.5, 1e-300, 1e300, 2**53 + 1, 2**63, 10**30,
          10**400, float("nan"), float("inf"), -float("inf"), "", "x", "1", "a\nb", "\x1b[2J",
          "x" * 5_000, [], [1], {}, {"a": 1}, [[[[[]]]]]]  # fmt: skip
CELLS = ["", "nan", "inf", "-inf", "1e400", "-1", "0", "7", "1_0", "0x10", "x", '"', "'", "9" * 999,
         "\0", "\x1b[2J", "1;2", "true", "None", "=1+1", "\u0661"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of schema 1 that is damaged, one file at a time, and mended."""
    return RunDirectory(write_copy(SOURCE, tmp_path_factory.mktemp("fields"), "damaged", 0))


@pytest.fixture(scope="module")
def hashed(tmp_path_factory):
    """The same run in schema 2."""
    run = RunDirectory(write_copy(SOURCE, tmp_path_factory.mktemp("hashed"), "damaged", 0))
    result = run.read_result()
    del result["schema"]
    run.finish(result)
    assert read_run(run)
    return run


def can_be_read(run, file, text):
    """Whether the run is read with this text in one of its files; if not, one line says why."""
    path = run.path / file
    before = path.read_bytes()
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        with in_time():
            return bool(read_run(run))
    except DitbenchError as error:
        assert_one_line(one_line(error.message))
        return False
    finally:
        path.write_bytes(before)


def other_values(value):
    """Near misses of a value: one digit, one letter, another sign."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return []
    if isinstance(value, str):
        return [f"{value}x", value[:-1], value.swapcase()]
    return [value + 1, value * 2, -value, value * (1 + 1e-7)]


def set_key(table, key, value):
    """Set a dotted key; `...` removes it."""
    *above, last = key.split(".")
    for name in above:
        table = table[name]
    table.pop(last) if value is ... else table.update({last: value})


@pytest.mark.slow
@pytest.mark.parametrize("file", ["result.json", "cost.json", "env.json"])
def test_fields_of_json(run, hashed, file):
    for each in (run, hashed):
        text = (each.path / file).read_text()
        for key, value in flatten(json.loads(text)).items():
            if "sha256." in key:  # its keys have dots
                continue
            for other in [*VALUES, *other_values(value), ...]:
                table = json.loads(text)
                set_key(table, key, other)
                can_be_read(each, file, json.dumps(table))


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
def test_hashes_that_are_none(hashed, value):
    table = json.loads(hashed.result.read_text())
    assert not can_be_read(hashed, "result.json", json.dumps({**table, "sha256": value}))
    for name in table["sha256"]:
        damaged = {**table, "sha256": {**table["sha256"], name: value}}
        assert not can_be_read(hashed, "result.json", json.dumps(damaged))


@pytest.mark.slow
@pytest.mark.parametrize("key", flatten(read_toml(SOURCE / "config.toml")))
def test_fields_of_the_configuration(run, key):
    value = flatten(read_toml(SOURCE / "config.toml"))[key]
    for other in [*VALUES, *other_values(value), ...]:
        if other is None or (isinstance(other, int) and abs(other) >= 2**63):
            continue  # not TOML; numbers of any length are among the damaged runs
        table = read_toml(SOURCE / "config.toml")
        set_key(table, key, other)
        can_be_read(run, "config.toml", tomli_w.dumps(table))


@pytest.mark.slow
def test_cells_of_the_table(run):
    lines = [line.split(",") for line in run.evaluations.read_text().splitlines()]
    for row in (0, 1, len(lines) - 1):
        for column, cell in enumerate(lines[row]):
            digits = [cell.replace("1", "2", 1), cell[:-1], cell + "1", cell + " ", " " + cell]
            for other in [*CELLS, *digits]:
                damaged = [[*line] for line in lines]
                damaged[row][column] = other
                text = "".join(",".join(line) + "\n" for line in damaged)
                can_be_read(run, "eval.csv", text)


@pytest.mark.parametrize("file", ["result.json", "cost.json", "eval.csv"])
def test_a_file_cut_at_any_place_is_refused(run, file):
    whole = (run.path / file).read_bytes()
    for length in range(0, len(whole.rstrip()), 7):
        assert not can_be_read(run, file, whole[:length])


@pytest.mark.parametrize("file", ["result.json", *RECORDED])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_flipped_bits(run, hashed, file, data):
    whole = (hashed.path / file).read_bytes()
    flipped = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
        flipped[place] ^= 1 << bit
    can_be_read(run, file, bytes(flipped))
    read = can_be_read(hashed, file, bytes(flipped))
    assert file == "result.json" or read == (bytes(flipped) == whole)


@pytest.mark.parametrize("file", [name for name in RECORDED if name != "env.json"])
def test_the_file_of_another_run_is_found(hashed, file):
    assert not can_be_read(hashed, file, (OTHER / file).read_bytes())
