import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ditbench.amounts import decimals, significant
from ditbench.errors import DitbenchError
from ditbench.report.tables.columns import (
    COST_COLUMNS,
    Column,
)
from ditbench.report.tables.render import format_of, json_text, render, rich_table

NAN = float("nan")
ROWS = [
    {"block": "a", "gmacs": 119.35, "fid": 9.0, "fid_std": 0.5, "acc": 0.91},
    {"block": "b", "gmacs": 118.55, "fid": 8.0, "fid_std": NAN, "acc": None},
    {"block": "c_%", "gmacs": 137.60, "fid": 8.001, "fid_std": 0.25, "acc": 0.97},
]
COLUMNS = (
    Column("block", "Block"),
    Column("gmacs", "GMACs", decimals(2), "low"),
    Column("fid", "FID ↓", decimals(2), "low", spread="fid_std"),
    Column("fid_std", None),
    Column("acc", "Acc. ↑", decimals(2), "high"),
)

# Any text on one line; rows as a table may hold them.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
NUMBERS = st.none() | st.floats() | st.integers(-(2**63), 2**63)
TABLES = st.lists(st.fixed_dictionaries({"name": TEXTS, "low": NUMBERS, "high": NUMBERS}))
ANY_COLUMNS = (
    Column("name", "Na|me & {co}"),
    Column("low", "Low", decimals(3), "low", spread="high"),
    Column("high", "High", significant(3), "high"),
)


def test_markdown_by_hand():
    assert render(ROWS, COLUMNS, "md") == (
        "| Block | GMACs | FID ↓ | Acc. ↑ |\n"
        "| :--- | ---: | ---: | ---: |\n"
        "| a | 119.35 | 9.00 ± 0.50 | 0.91 |\n"
        "| b | **118.55** | **8.00** | – |\n"
        "| c\\_% | 137.60 | **8.00 ± 0.25** | **0.97** |\n"
    )


def test_latex_by_hand():
    assert render(ROWS, COLUMNS, "latex") == (
        "\\begin{tabular}{lrrr}\n\\toprule\n"
        "Block & GMACs & FID $\\downarrow$ & Acc. $\\uparrow$ \\\\\n\\midrule\n"
        "a & 119.35 & 9.00 $\\pm$ 0.50 & 0.91 \\\\\n"
        "b & \\textbf{118.55} & \\textbf{8.00} & -- \\\\\n"
        "c\\_\\% & 137.60 & \\textbf{8.00 $\\pm$ 0.25} & \\textbf{0.97} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def test_latex_escapes_every_special_character():
    text = render([{"block": r"a&b%c$d#e_f{g}h~i^j\k"}], COLUMNS[:1], "latex")
    assert r"a\&b\%c\$d\#e\_f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k" in text


@pytest.mark.parametrize(
    ("name", "shown", "markdown", "latex"),
    [
        ("a$b_c$", "a$b_c$", r"a\$b\_c\$", r"a\$b\_c\$"),
        ("<b>#1", "<b>#1", r"\<b\>\#1", r"\textless{}b\textgreater{}\#1"),
        ("[red]*", "[red]*", r"\[red\]\*", "{}[red]*"),
        ("*x", "*x", r"\*x", "{}*x"),
        ("a---b", "a---b", "a---b", "a-{}-{}-b"),
        ("`a|b`", "`a|b`", r"\`a\|b\`", r"\textasciigrave{}a\textbar{}b\textasciigrave{}"),
        ("a\nb\x1b", r"a b\x1b", r"a b\\x1b", r"a b\textbackslash{}x1b"),
        ("数\udcff", r"数\udcff", r"数\\udcff", r"数\textbackslash{}udcff"),
    ],
)
def test_names_are_literal_whatever_they_contain(name, shown, markdown, latex):
    rows, columns = [{"block": name}], COLUMNS[:1]
    assert render(rows, columns, "md").splitlines()[2] == f"| {markdown} |"
    assert render(rows, columns, "latex").splitlines()[4] == rf"{latex} \\"
    (cell,) = rich_table(rows, columns).columns[0].cells
    assert cell.plain == shown
    assert render(rows, columns, "json").encode()


def _plain(value):
    return None if isinstance(value, float) and not np.isfinite(value) else value


@given(TABLES)
def test_json_and_csv_parse_back_to_equal_values(rows):
    expected = [{key: _plain(value) for key, value in row.items()} for row in rows]
    assert json.loads(render(rows, ANY_COLUMNS, "json")) == expected
    parsed = list(csv.DictReader(io.StringIO(render(rows, ANY_COLUMNS, "csv"))))
    for row, want in zip(parsed, expected, strict=True):
        assert row["name"] == want["name"]
        for key in ("low", "high"):
            value = want[key]
            assert row[key] == "" if value is None else type(value)(row[key]) == value


@given(TABLES)
def test_markdown_and_latex_have_a_cell_for_each_column_whatever_the_names(rows):
    lines = render(rows, ANY_COLUMNS, "md").split("\n")[:-1]
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == len(ANY_COLUMNS) + 1
    text = render(rows, ANY_COLUMNS, "latex")
    body = [line for line in text.split("\n") if line.endswith(r"\\")]
    assert len(body) == len(rows) + 1
    for line in body:
        assert len(re.findall(r"(?<!\\)&", line)) == len(ANY_COLUMNS) - 1
        bare = re.sub(r"\\[{}]", "", line)
        assert bare.count("{") == bare.count("}")


@given(TABLES)
def test_bold_marks_the_extreme_and_nothing_else(rows):
    text = render(rows, ANY_COLUMNS[2:], "md").split("\n")[2:-1]
    values = [_plain(row["high"]) for row in rows]
    numbers = {significant(3)(value): value for value in values if value is not None}
    for line, value in zip(text, values, strict=True):
        if len(numbers) < 2 or value is None:
            assert "**" not in line
        else:
            best = max(value for value in values if value is not None)
            assert ("**" in line) == (significant(3)(value) == significant(3)(best))


def test_numpy_values_become_plain_ones():
    rows = [{"block": "a", "gmacs": np.float64(0.1), "fid": np.int64(3), "acc": np.float32("nan")}]
    plain = {"block": "a", "gmacs": 0.1, "fid": 3, "fid_std": None, "acc": None}
    assert json.loads(render(rows, COLUMNS, "json")) == [plain]
    assert render(rows, COLUMNS, "csv").splitlines()[1] == "a,0.1,3,,"


def test_json_is_json_whatever_it_holds():
    name = "é\udcff\u202e\x9b\U000e0041"
    expected = {"a": [None, [1.5, None]], "path": "x", "name": name}
    text = json_text({"a": [NAN, (1.5, float("-inf"))], "path": Path("x"), "name": name})
    assert json.loads(text, parse_constant=pytest.fail) == expected
    assert "é" in text
    assert all(map(str.isprintable, text.split("\n")))


def test_rich_shows_the_best_in_bold_green_and_names_in_brackets():
    rows = [{**ROWS[0], "block": "[red]a"}, *ROWS[1:]]
    table = rich_table(rows, COLUMNS)
    cells = {column.header.plain: list(column.cells) for column in table.columns}
    assert [str(text.style) for text in cells["GMACs"]] == ["", "bold green", ""]
    assert [text.plain for text in cells["FID ↓"]] == ["9.00 ±0.50", "8.00", "8.00 ±0.25"]
    assert [str(text.style) for text in cells["FID ↓"]] == ["", "bold green", "bold green"]
    console = Console(width=100, file=io.StringIO())
    console.print(table)
    printed = console.file.getvalue()
    assert "[red]a" in printed


def test_cost_columns_hold_the_contract_of_flops():
    row = {
        "block": "adaln-zero", "model": "XL/2", "input": "32x32x4", "parameters": 674_834_720,
        "gmacs": 118.62, "gflops": 237.24,
    }  # fmt: skip
    assert json.loads(render([row], COST_COLUMNS, "json")) == [row]
    assert "| 674.8 | 118.62 | 237.24 |" in render([row], COST_COLUMNS, "md")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0035, "0.00350"), (118.64, "118.64"), (0, "0.00"), (-1234.5, "-1,234.50"),
     (8e-16, "8.00e-16"), (-2.5e-7, "-2.50e-07"), (1e-6, "0.00000100"), (3e20, "3.00e+20")],
)  # fmt: skip
def test_significant_keeps_digits_and_decimals(value, text):
    assert significant(3, 2)(value) == text


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        (None, None, "rich"),
        (None, "csv", "csv"),
        (Path("t.tex"), None, "latex"),
        (Path("t.MD"), None, "md"),
        (Path("t.csv"), "json", "json"),
        (Path("t.txt"), "md", "md"),
    ],
)
def test_the_format_follows_the_suffix(path, given, expected):
    assert format_of(path, given) == expected


@pytest.mark.parametrize(
    ("path", "given", "hint"),
    [
        (Path("t.xlsx"), None, ".csv"),
        (Path("table"), None, ".csv"),
        (None, "latx", "latex"),
        (Path("t.csv"), "rich", "--format"),
    ],
)
def test_an_unknown_format_says_what_there_is(path, given, hint):
    with pytest.raises(DitbenchError) as caught:
        format_of(path, given)
    assert hint in caught.value.hint
    with pytest.raises(DitbenchError):
        render(ROWS, COLUMNS, "rich")
