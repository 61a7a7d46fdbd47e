"""What people see of a run: bars on a terminal, lines in a pipe, nothing if quiet."""

import io
from types import SimpleNamespace

import pytest
from recorder import Terminal
from rich.console import Console

from ditbench.runs.events import progress
from ditbench.runs.events.progress import Bars, Lines, describe, reporter, sentence
from ditbench.runs.planning import speed
from ditbench.runs.planning.speed import clock
from ditbench.runs.run import execute
from ditbench.training.trainer import Logged


@pytest.fixture
def screen():
    return Console(file=Terminal(), force_terminal=True, force_interactive=True, width=120)


def test_bars_end_before_results_are_written(make_plan, screen, capsys):
    bars = Bars(screen, runs=2)
    for block in ("adaln", "adaln-zero"):
        result = execute(make_plan(block=block), bars)
        # A bar that is still drawn would be drawn over what is said now.
        assert not bars.progress.live.is_started
        bars.say(sentence(result))
    drawn = screen.file.getvalue()
    for text in ("[1/2] adaln seed 0", "[2/2] adaln-zero seed 0", "6/6", "FID-40", "it/s"):
        assert text in drawn
    assert capsys.readouterr().out.count("after 6 steps") == 2


def test_a_run_that_was_complete_has_no_bar_and_no_line(make_plan, screen):
    execute(make_plan())
    for kind in (Bars, Lines):
        execute(make_plan(), kind(screen, runs=1))
    assert screen.file.getvalue() == ""


def test_a_bar_is_left_alone_when_the_run_breaks_off(make_plan, monkeypatch, screen):
    monkeypatch.setattr(progress, "Console", lambda **_options: screen)

    def break_off(_bars, _row):
        raise KeyboardInterrupt

    monkeypatch.setattr(Bars, "logged", break_off)
    with pytest.raises(KeyboardInterrupt), reporter(1, quiet=False) as bars:
        execute(make_plan(), bars)
    assert not bars.progress.live.is_started


def test_lines_hold_what_matters_and_no_control_characters(make_plan):
    pipe = Console(file=io.StringIO())
    execute(make_plan(), Lines(pipe, runs=1))
    lines = pipe.file.getvalue().splitlines()
    assert lines[0].startswith("adaln-zero seed 0  16x2x2/2 on digits, flow, for 6 steps")
    assert [line.split()[4] for line in lines if "FID-40" in line] == ["2/6", "4/6", "6/6"]
    assert "\x1b" not in pipe.file.getvalue()


def test_a_budget_of_time_is_shown_in_seconds(make_plan, screen, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    pipe = Console(file=io.StringIO())
    options = {"budget__seconds": 0.25, "eval__points": 1}
    execute(make_plan(**options), Lines(pipe, runs=1))
    lines = pipe.file.getvalue().splitlines()
    assert lines[0].endswith("flow, for 0.2 seconds")
    logged = [line for line in lines if "loss" in line]
    assert all("second 0" in line and "/0.2  loss" in line for line in logged)
    assert "ETA 0:0" in logged[-1]
    assert sum("FID-40" in line for line in lines) == 1
    execute(make_plan(seed=1, **options), Bars(screen, runs=1))
    assert "/0.2 s" in screen.file.getvalue()


def test_a_run_by_the_clock_prints_where_it_resumes(make_plan):
    pipe = Console(file=io.StringIO())
    plan = make_plan(budget__seconds=600.0)
    Lines(pipe, runs=1).started(plan, 812, 42.0, 0.0)
    assert pipe.file.getvalue().strip().endswith("from second 42 of 600 seconds")


def test_long_work_between_steps_is_shown(make_plan, screen, monkeypatch):
    """After two seconds, then every five; with the time that is left, once training has begun."""
    now = [1000.0]
    for module in (progress, speed):
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    plan, pipe = make_plan(), Console(file=io.StringIO(), width=120)
    for shown in (Lines(pipe, runs=1), Bars(screen, runs=1)):
        shown.preparing(plan)
        for done in range(121):
            shown.working("real statistics", done, 120)
            now[0] += 0.1
        shown.started(plan, 0, 0.0, 1.0)
        shown.logged(Logged(2, 32, 3.0, 1.0, 1e-3, 1.0))
        for done in range(5):
            shown.working("sampling", done, 5)
            now[0] += 3
        shown.close()
    lines = [line.split("  ", 1)[1] for line in pipe.file.getvalue().splitlines()]
    assert lines[0] in [f"real statistics {done}/120" for done in (20, 21)]
    assert lines[1] in [f"real statistics {done}/120" for done in (70, 71, 72)]
    # 4 steps of 1.5 s, and 3 evaluations of 40 samples: 2 passes of 1.5 / 48 s, and 1 s each;
    # 3 s of the first are over.
    whole = 4 * 1.5 + 3 * 40 * (2 * 1.5 / 48 + 1.0)
    assert f"sampling 1/5  ETA {clock(whole - 3)}" in lines
    assert "sampling 3/5" in lines[-1]
    assert "sampling 4/5" in screen.file.getvalue()


def test_skipped_updates_are_part_of_the_sentence(make_plan):
    result = execute(make_plan())
    assert "skipped" not in sentence(result)
    text = sentence({**result, "skipped_updates": 5})
    assert text.endswith("5 of 6 updates were skipped: loss or gradient were not finite.")


def test_kid_comes_first_where_images_are_few_for_fid():
    row = {"samples": 2_000, "fid_2k": 12.345, "kid_2k": 0.001234, "features": "digits"}
    assert describe(row, 180) == "FID-2K 12.35"
    assert describe(row | {"features": "inception"}) == "KID-2K 0.00123, FID-2K 12.35"
    many = {**row, "samples": 10_000, "fid_10k": 12.345, "kid_10k": 0.1, "features": "inception"}
    assert describe(many) == describe(many, 50_000) == "FID-10K 12.35"
    assert describe(many, 180) == "KID-10K 0.1, FID-10K 12.35"


@pytest.mark.parametrize("quiet", [True, False])
def test_a_warning_is_printed_on_stderr_even_if_quiet(capsys, quiet):
    with reporter(1, quiet=quiet) as progress:
        progress.warned("latest.safetensors is damaged")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: latest.safetensors is damaged\n")


def test_quiet_says_nothing_but_results(make_plan, capsys):
    with reporter(1, quiet=True) as quiet:
        result = execute(make_plan(), quiet)
        quiet.say("result")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\n", "")
    assert describe(result["final"]) in sentence(result)


NAME = "[1/2] a[red]b[/x]:dog:\x1b[31m"


def test_names_are_literal_in_bars_and_lines(make_plan, screen):
    bars = Bars(screen, runs=1)
    plan = make_plan()
    bars.started(SimpleNamespace(label=NAME, budget=plan.budget, config=plan.config), 0, 0.0, 0.0)
    bars.close()
    pipe = Console(file=io.StringIO())
    lines = Lines(pipe, runs=1)
    lines.label = NAME
    lines._line("step 1")
    for drawn in (screen.file.getvalue(), pipe.file.getvalue()):
        assert r"[1/2] a[red]b[/x]:dog:\x1b[31m" in drawn


@pytest.mark.parametrize(
    ("file", "variables", "kind"),
    [
        (Terminal(), {}, Bars),
        (Terminal(), {"TERM": "dumb"}, Lines),
        (io.StringIO(), {"FORCE_COLOR": "1"}, Lines),
        (io.StringIO(), {"TTY_COMPATIBLE": "1"}, Lines),
    ],
)
def test_bars_are_for_terminals_that_can_draw(monkeypatch, file, variables, kind):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", file)
    with reporter(1, quiet=False) as chosen:
        assert type(chosen) is kind
