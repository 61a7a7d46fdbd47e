"""The live table of several runs, as a terminal shows it."""

import io

import pytest
from recorder import Terminal
from rich.console import Console

from ditbench.errors import DitbenchError
from ditbench.launch.table import LiveTable
from ditbench.runs.planning.speed import clock
from ditbench.training.trainer import Logged


@pytest.fixture
def table():
    console = Console(file=Terminal(), force_terminal=True, width=80, color_system=None)
    with_rows = LiveTable(console, runs=4)
    yield with_rows
    with_rows.close()


def lines(table):
    """What the table shows now."""
    console = Console(file=io.StringIO(), width=100)
    console.print(table._table())
    found = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, found)) <= 80
    return found


def test_it_shows_each_run_that_is_executed(table, make_plan):
    plans = [make_plan(block=name) for name in ("cross-attention", "adaln")]
    first, second = map(table.of, plans)
    for row, plan in zip((first, second), plans, strict=True):
        row.preparing(plan)
    first.started(plans[0], 0, 0.0, 0.0)
    first.logged(Logged(2, 32, 3.0, 1.23456, 1e-3, 1.0))
    first.working("sampling", 3, 10)
    header, one, two, caption = lines(table)
    assert header.split() == ["Block", "Seed", "Steps", "Loss", "FID", "ETA"]
    assert one.split()[:4] == ["cross-attention", "0", "2/6", "1.235"]
    assert one.endswith("sampling 3/10")
    assert clock(first.remaining.read()) in one.split()
    assert two.split() == ["adaln", "0", "preparing"]
    assert caption == "0 of 4 runs ended, 2 waiting"
    first.evaluated({"step": 2, "samples": 40, "fid_40": 12.345, "eval_seconds": 1.0})
    assert "12.35" in lines(table)[1] or "12.34" in lines(table)[1]
    first.finished(plans[0], {}, reused=False)
    assert lines(table)[1:] == [two, "1 of 4 runs ended, 2 waiting"]


def test_results_and_failures_are_printed_while_it_is_not_drawn(table, make_plan, capsys):
    plan = make_plan()
    table.of(plan).preparing(plan)
    table.say("result")
    table.failed(plan, DitbenchError("its process was ended by SIGKILL"))
    printed = capsys.readouterr()
    assert printed.out == "result\n"
    assert printed.err == f"failed: {plan.label}: its process was ended by SIGKILL\n"
    assert lines(table)[1:] == ["1 of 4 runs ended, 3 waiting"]
    assert table.live.is_started
    table.close()
    assert "preparing" in table.console.file.getvalue()


def test_nothing_is_drawn_before_a_run_starts(table, capsys):
    table.say("complete before")
    assert capsys.readouterr().out == "complete before\n"
    assert table.console.file.getvalue() == ""


def test_a_long_name_leaves_room_for_the_numbers(table, make_plan):
    plan = make_plan(budget__steps=400_000, model__depth=2).with_notes({"sweep": {}})
    row = table.of(plan)
    row.preparing(plan)
    row.started(plan, 0, 0.0, 0.0)
    row.logged(Logged(399_999, 1, 399_999.0, 10.0, 1e-3, 1.0))
    row.evaluated({"samples": 40, "fid_40": 412.3, "eval_seconds": 1.0})
    row.working("real statistics", 1_234, 10_000)
    _, line, _ = lines(table)
    assert all(part in line for part in ("adaln-zero", "399999/400000", "10.000", "412.30"))
