"""Every field of a run, damaged in every way: the run is skipped, or its numbers are its own.

What a run says once alone cannot be checked: a digit of it that is changed into another number of
its kind is read as it stands. Those fields are listed here, so that no other becomes one of them.
"""

from __future__ import annotations

import json

import pytest
import tomli_w
from contract import assert_one_line, in_time
from hypothesis import given, settings
from hypothesis import strategies as st
from run_copies import REFERENCE, write_copy

from ditbench.config import read_toml
from ditbench.errors import DitbenchError, one_line
from ditbench.report.reading.fields import flatten
from ditbench.report.reading.run import read_run
from ditbench.rundir import RunDirectory

SOURCE = min(REFERENCE.glob("digits/cross-attention/seed0-*"))
OTHER = min(REFERENCE.glob("digits/in-context/seed0-*"))

# File -> field -> the column that a plausible other value of it changes, because nothing else in
# the run tells it.
SAID_ONCE = {
    "result.json": {
        "device": "device",
        "peak_memory_bytes": "peak_memory_bytes",
        "features_digest": "features_digest",
    },
    "cost.json": {"parameters": "parameters", "input": "input"},
    # In rows before the last; the last is in result.json too.
    "eval.csv": {"fid_1k": "fid", "kid_1k": "kid", "label_accuracy": "label_accuracy",
                 "seconds": "seconds"},
    # A key that is left out is read as its default by the fingerprint, and the group of the run
    # says so: it is told apart from runs that name it.
    "config.toml": {},
}  # fmt: skip

VALUES = [None, True, False, 0, -1, 1, 7, 1.5, -0.5, 1e-300, 1e300, 2**53 + 1, 2**63, 10**30,
          10**400, float("nan"), float("inf"), -float("inf"), "", "x", "1", "a\nb", "\x1b[2J",
          "x" * 5_000, [], [1], {}, {"a": 1}, [[[[[]]]]]]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run that is damaged, one file at a time, and mended."""
    return RunDirectory(write_copy(SOURCE, tmp_path_factory.mktemp("fields"), "damaged", 0))


@pytest.fixture(scope="module")
def expected(run):
    """Its rows as they were written."""
    return read_run(run)


def without(rows, columns):
    """As text, in which NaN equals itself, and a float's last digits are not looked at."""
    return [
        {
            name: f"{value:.7g}" if isinstance(value, float) else repr(value)
            for name, value in row.items()
            if name not in columns
        }
        for row in rows
    ]


def check(run, expected, file, text, excused=()):
    """Read the run with this text in one of its files: its own rows, or one line."""
    path = run.path / file
    before = path.read_bytes()
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        with in_time():
            rows = read_run(run)
    except DitbenchError as error:
        assert_one_line(one_line(error.message))
        return False
    finally:
        path.write_bytes(before)
    assert without(rows, excused) == without(expected, excused)
    return True


def other_values(value):
    """Near misses of a value: one digit, one letter, another sign."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [value + 1, value * 2, -value, value * (1 + 1e-7)]
    return [f"{value}x", value[:-1], value.swapcase()]


JSON_FIELDS = [
    (file, key)
    for file in ("result.json", "cost.json", "env.json")
    for key in flatten(json.loads((SOURCE / file).read_text()))
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "key"), JSON_FIELDS)
def test_a_field_of_json_is_its_own_or_the_run_is_skipped(run, expected, file, key):
    table = json.loads((SOURCE / file).read_text())
    *above, last = key.split(".")
    excused = [column for name, column in SAID_ONCE.get(file, {}).items() if name == key]
    if file == "result.json":
        table["seed"] = 0
    inner = table
    for name in above:
        inner = inner[name]
    value = inner[last]
    for other in [*VALUES, *other_values(value)]:
        inner[last] = other
        check(run, expected, file, json.dumps(table), excused)
    del inner[last]
    check(run, expected, file, json.dumps(table), excused)


@pytest.mark.slow
@pytest.mark.parametrize("key", flatten(read_toml(SOURCE / "config.toml")))
def test_a_field_of_the_configuration_is_its_own_or_the_run_is_skipped(run, expected, key):
    table = read_toml(SOURCE / "config.toml")
    value = flatten(table)[key]
    for other in [*VALUES, *other_values(value)]:
        if other is None or other == 10**400 or (isinstance(other, int) and abs(other) >= 2**63):
            continue  # not TOML; numbers of any length are among the damaged runs
        changed = read_toml(SOURCE / "config.toml")
        _set(changed, key, other)
        # A key below a key is one of another version, and a part of the recipe; so is 0 for 0.0.
        same = isinstance(other, dict) or other == value
        excused = ["recipe"] if same else []
        check(run, expected, "config.toml", tomli_w.dumps(changed), excused)
    *above, last = key.split(".")
    inner = table
    for name in above:
        inner = inner[name]
    del inner[last]
    check(run, expected, "config.toml", tomli_w.dumps(table), ["recipe"])


def _set(table, key, value):
    *above, last = key.split(".")
    for name in above:
        table = table[name]
    table[last] = value


LINES = [line.split(",") for line in (SOURCE / "eval.csv").read_text().splitlines()]
CELLS = ["", "nan", "inf", "-inf", "1e400", "-1", "0", "7", "1_0", "0x10", "x", '"', "'", "9" * 999,
         "\0", "\x1b[2J", "1;2", "true", "None", "=1+1", "\u0661"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("column", LINES[0])
def test_a_cell_of_the_table_is_its_own_or_the_run_is_skipped(run, expected, column):
    where = LINES[0].index(column)
    for row in (0, 1, 3, len(LINES) - 1):
        before = row < len(LINES) - 1
        once = SAID_ONCE["eval.csv"].get(column) if before and row else None
        if not row and column == "label_accuracy":
            once = column  # an extractor without classes has no such column
        cell = LINES[row][where]
        digits = [cell.replace("1", "2", 1), cell[:-1], cell + "1", cell + " ", " " + cell]
        for other in [*CELLS, *digits]:
            lines = [[*line] for line in LINES]
            lines[row][where] = other
            text = "".join(",".join(line) + "\n" for line in lines)
            check(run, expected, "eval.csv", text, [once] if once else [])


@pytest.mark.parametrize("file", ["result.json", "cost.json", "config.toml", "eval.csv"])
def test_a_file_cut_at_any_place_is_skipped(run, expected, file):
    whole = (run.path / file).read_bytes()
    for length in range(0, len(whole.rstrip()), 7):
        read = check(run, expected, file, whole[:length], ["recipe"])
        # A configuration may end between two keys, and one of those after has its default.
        assert not read or file == "config.toml"


@pytest.mark.parametrize("file", ["result.json", "cost.json", "config.toml", "eval.csv"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_flipped_bits_give_the_runs_own_numbers_or_none(run, expected, file, data):
    whole = bytearray((run.path / file).read_bytes())
    # Two flips could hide each other: a key of another version lifts the check of the fingerprint.
    for _ in range(1 if file == "config.toml" else data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    check(run, expected, file, bytes(whole), [*SAID_ONCE[file].values(), "recipe"])


@pytest.mark.parametrize("file", ["result.json", "cost.json", "config.toml"])
def test_the_file_of_another_run_is_found_out(run, expected, file):
    assert not check(run, expected, file, (OTHER / file).read_bytes())


def test_the_table_of_another_run_is_found_out(run, expected):
    assert not check(run, expected, "eval.csv", (OTHER / "eval.csv").read_bytes())


def test_what_is_said_once_is_read_as_it_stands(run, expected):
    """The limit of all this: one number that no other tells."""
    table = json.loads((SOURCE / "cost.json").read_text())
    table["parameters"] += 1
    assert check(run, expected, "cost.json", json.dumps(table), ["parameters"])
    with pytest.raises(AssertionError):
        check(run, expected, "cost.json", json.dumps(table))
