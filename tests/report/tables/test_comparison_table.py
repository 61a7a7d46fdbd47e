"""Comparisons as tables: which columns, and how they fit a terminal."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from ditbench.errors import DitbenchError
from ditbench.report.reading.groups import split_groups
from ditbench.report.reading.results import load_results
from ditbench.report.statistics.compare import compare
from ditbench.report.tables.columns import (
    comparison_columns,
    comparison_rows,
    parse_columns,
)
from ditbench.report.tables.comparisons import render_comparisons
from ditbench.report.tables.render import bands, render, rich_table, shown


def printed_at(width, table):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.fixture
def comparison(make_run, results):
    for block in ("in-context", "cross-attention", "adaln", "adaln-zero"):
        for seed in (0, 1):
            make_run(block, seed, (200.0, 11.0 + seed * 1.25 + len(block)))
    return compare(load_results(results), target_fid=40.0)


@pytest.mark.parametrize("width", [44, 60, 80, 100, 120, 200])
def test_a_comparison_fits_a_terminal_uncut_in_as_many_tables_as_it_takes(comparison, width):
    rows, columns = comparison_rows(comparison), comparison_columns(comparison, wide=True)
    parts = bands(rows, columns, width)
    visible = shown(columns)
    assert [column for part in parts for column in part[1:]] == visible[1:]
    assert all(part[0] is visible[0] for part in parts)
    printed = ""
    for part in parts:
        text = printed_at(width, rich_table(rows, part))
        blocks = tuple(row["block"] for row in rows)
        assert sum(line.startswith(blocks) for line in text.splitlines()) == 4
        printed += text
    assert "…" not in printed
    for row in rows:
        assert f"{row['fid']:.2f} ±{row['fid_std']:.2f}" in printed
        assert f"[{row['fid_low']:.2f}, {row['fid_high']:.2f}]" in printed
        assert f"{row['fid_ratio']:.2f}" in printed
        assert f"{row['steps_to_target']:,.0f}" in printed


def test_a_long_name_of_a_forced_ranking_is_folded(make_run, results):
    for steps in (1200, 2400):
        make_run("adaln-zero", 0, budget__steps=steps, eval__samples=steps)
    comparison = compare(load_results(results), force=True)
    rows, columns = comparison_rows(comparison), comparison_columns(comparison)
    (whole,) = bands(rows, columns, 80)
    text = printed_at(80, rich_table(rows, whole))
    assert "…" not in text
    for part in ("adaln-zero (samples 1200, 1,200", "steps)"):
        assert part in text


def test_a_table_that_fits_is_one_table(comparison):
    rows, columns = comparison_rows(comparison), comparison_columns(comparison, wide=True)
    assert len(bands(rows, columns, 80)) > 1
    (whole,) = bands(rows, columns, 10_000)
    natural = Console(width=10_000).measure(rich_table(rows, whole)).maximum
    assert len(bands(rows, columns, natural)) == 1
    assert len(bands(rows, columns, natural - 1)) == 2


def test_an_interval_stays_beside_what_it_is_the_interval_of(comparison):
    for width in range(40, 160, 7):
        columns = comparison_columns(comparison, wide=True)
        for part in bands(comparison_rows(comparison), columns, width):
            names = [column.name for column in part]
            assert ("fid" in names) == ("fid_low" in names)


def test_by_default_people_see_seven_columns_that_fit_80_characters(make_run, results):
    for block in ("in-context", "in-context-class", "adaln-zero"):
        for seed in range(12):
            make_run(block, seed, (200.0, 111.0 + seed * 1.25 + len(block)))
    comparison = compare(load_results(results))
    rows, columns = comparison_rows(comparison), comparison_columns(comparison)
    assert [column.name for column in shown(columns)] == [
        "block", "seeds", "parameters", "gmacs", "fid", "fid_ratio", "p_bonferroni",
    ]  # fmt: skip
    assert len(bands(rows, columns, 80)) == 1
    every = {column.name for column in columns}
    assert every == {column.name for column in comparison_columns(comparison, wide=True)}


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.004, "<0.01"), (0.005, "0.01"), (0.703, "0.70"), (99.994, "99.99"), (575.1, "575"),
        (1000.0, "1,000"), (1000.5, ">1,000"), (1.2e9, ">1,000"), (float("inf"), ">1,000"),
    ],
)  # fmt: skip
def test_a_ratio_far_from_1_is_bounded(comparison, ratio, text):
    columns = {column.name: column for column in comparison_columns(comparison)}
    assert columns["fid_ratio"].text(ratio) == text


def test_the_interval_of_a_mean_fid_begins_at_0(make_run, results):
    for seed, fid in enumerate((20.0, 90.0)):
        make_run("adaln", seed, (fid,))
    comparison = compare(load_results(results))
    (row,) = comparison_rows(comparison)
    assert row["fid_low"] < 0
    text = render(comparison_rows(comparison), comparison_columns(comparison, wide=True), "md")
    assert f"0.00, {row['fid_high']:.2f}" in text


def test_one_block_has_no_ratio_and_one_seed_no_interval(make_run, results):
    make_run("adaln", 0)
    comparison = compare(load_results(results))
    for wide in (False, True):
        names = {each.name for each in shown(comparison_columns(comparison, wide=wide))}
        assert names.isdisjoint({"fid_ratio", "p_bonferroni", "fid_low"})
    make_run("adaln-zero", 0)
    table = render_comparisons([compare(load_results(results))], "md")
    assert "| FID / adaln |" in table
    assert "CI" not in table


def test_columns_are_those_that_are_asked_for_in_their_order(comparison):
    names = parse_columns("ratio, kid,train_seconds,n", [comparison])
    columns = comparison_columns(comparison, names)
    assert [(each.name, each.header) for each in shown(columns)] == [
        ("block", "Block"),
        ("fid_ratio", "FID / in-context [95% CI]"),
        ("kid", "KID-2K ↓"),
        ("train_seconds", "train_seconds"),
        ("seeds", "n"),
    ]
    (line,) = render(comparison_rows(comparison)[:1], columns, "md").splitlines()[2:]
    assert line.endswith("| 24 | 2 |")  # 1,200 steps at 50 steps/s
    with pytest.raises(DitbenchError, match="unknown column 'kdi'") as caught:
        parse_columns("fid,kdi", [comparison])
    assert "kid" in caught.value.hint


def test_a_comparison_in_every_format(make_frame):
    comparison = compare(make_frame({"in-context": (16.0, 17.0), "adaln-zero": (8.0, 9.0)}))
    document = json.loads(render_comparisons([comparison], "json"))
    assert document["schema"] == 2
    (group,) = document["groups"]
    assert set(group) == {"heading", "verdict", "notes", "rows"}
    verdict = group["verdict"]
    assert (verdict["leader"], verdict["winner"]) == ("adaln-zero", "adaln-zero")
    assert verdict["sentence"] == comparison.sentence
    (rival,) = verdict["rivals"]
    assert (rival["block"], rival["seeds"], rival["significant"]) == ("in-context", 2, True)
    assert rival["ratio"] == pytest.approx((16 * 17 / (8 * 9)) ** 0.5)
    assert group["notes"] == list(comparison.notes)
    (zero, in_context) = group["rows"]
    assert zero["fid"] == 8.5
    assert zero["fid_std"] == pytest.approx(np.std([8, 9], ddof=1))
    assert zero["peak_memory_bytes"] == 200 * 2**20
    assert (zero["samples"], zero["features"], zero["baseline"]) == (2000, "digits", "in-context")
    assert in_context["fid_ratio"] == 1
    (first, _) = csv.DictReader(io.StringIO(render_comparisons([comparison], "csv")))
    assert float(first["gmacs"]) == 0.0035
    assert float(first["fid_ratio"]) == pytest.approx((8 * 9 / (16 * 17)) ** 0.5)
    assert first["sentence"] == comparison.sentence
    assert first["notes"] == " ".join(comparison.notes)
    assert first["group"] == comparison.heading
    markdown = render_comparisons([comparison], "md", wide=True)
    start = "| adaln-zero | 2 | 0.345 | **0.00350** | **8.50 ± 0.71** | \\[2.15, 14.85\\] |"
    assert f"{start} **104.2** | **0.00850** |" in markdown
    for header in (
        "Params (M)", "GMACs (paper's Gflops)", "FID-2K ↓", "KID-2K ↓", "Label acc. ↑", "steps/s",
        "Peak mem (MiB)", r"FID / in-context \[95% CI\]", "p",
    ):  # fmt: skip
        assert f"| {header} |" in markdown
    assert markdown.splitlines()[2].startswith("**adaln-zero wins: FID-2K 8.50, 49% below in-con")


def test_groups_share_one_csv_and_have_a_table_each_in_markdown(make_run, results):
    make_run("adaln", 0)
    make_run("adaln", 0, objective__name="ddpm")
    comparisons = [compare(group) for group in split_groups(load_results(results))]
    rows = list(csv.DictReader(io.StringIO(render_comparisons(comparisons, "csv"))))
    assert {row["objective"] for row in rows} == {"flow", "ddpm"}
    assert render_comparisons(comparisons, "md").count("| Block |") == 2
    latex = render_comparisons(comparisons, "latex")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
