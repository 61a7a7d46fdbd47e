"""`ditbench plot`: its kinds, and options that do not fit them."""

import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize(
    ("options", "suffix"),
    [
        ("--kind curve", "png"),
        ("--kind samples", "svg"),
        ("--kind pareto", "svg"),
        ("--kind pareto --paper", "png"),
        ("--paper", "pdf"),
        ("--paper --x time", "png"),
        ("--x flops", "png"),
    ],
)
def test_plot_kinds(cli, results, elsewhere, options, suffix):
    result = cli("plot", results, *options.split(), "-o", f"figure.{suffix}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"figure.{suffix}\n", "")
    figure = (elsewhere / f"figure.{suffix}").read_bytes()
    assert figure.startswith(MAGIC[suffix])
    assert len(figure) > 1000


def test_a_figure_has_a_name_by_default(cli, results, elsewhere):
    assert cli("plot", results, "--x", "time").stdout == "ditbench.png\n"
    assert (elsewhere / "ditbench.png").is_file()


def test_paper_changes_the_figure(succeed, results, elsewhere):
    for name, options in (("with.png", ["--paper"]), ("without.png", [])):
        succeed("plot", results, "-o", name, *options)
    assert (elsewhere / "with.png").read_bytes() != (elsewhere / "without.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ("pareto --x flops", "--x flops does not fit --kind pareto", "--kind curve"),
        ("samples --x steps", "--x steps does not fit --kind samples", "leave out --x"),
        ("samples --paper", "--paper does not fit", "--kind curve, ranking or pareto"),
        ("paretto", "unknown kind of plot 'paretto'", "did you mean pareto?"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(refused, results, options, message, hint):
    refused(message, hint, "plot", results, "--kind", *options.split())


def _figure_of(cli, elsewhere, *options):
    result = cli("plot", *options, "-o", "figure.svg")
    assert (result.exit_code, result.stdout) == (0, "figure.svg\n")
    return (elsewhere / "figure.svg").read_bytes()


def test_more_than_six_blocks_are_a_ranking_by_default(cli, elsewhere):
    digits = REFERENCE / "pilot" / "digits"
    ranking = _figure_of(cli, elsewhere, digits, "--kind", "ranking")
    curve = _figure_of(cli, elsewhere, digits, "--kind", "curve")
    assert _figure_of(cli, elsewhere, digits) == ranking
    assert _figure_of(cli, elsewhere, digits, "--x", "steps") == curve
    paper = (digits, "--block", "paper")
    curve = _figure_of(cli, elsewhere, *paper, "--kind", "curve")
    assert _figure_of(cli, elsewhere, *paper) == curve


def test_times_of_different_devices_are_left_out_with_one_note(cli, mistake, elsewhere):
    result = cli("plot", REFERENCE / "pilot" / "digits", "--kind", "pareto")
    assert (result.exit_code, result.stdout) == (0, "ditbench.png\n")
    (note,) = result.stderr.splitlines()
    assert note.startswith("skipped: training time of digits 8x8x1")
    assert "different devices" in note
    assert "--x steps" in mistake("plot", REFERENCE / "pilot" / "digits", "--x", "time")[1]


def test_groups_without_sample_grids_are_skipped_with_a_note_each(cli, elsewhere):
    result = cli("plot", REFERENCE / "pilot", "--kind", "samples", "-o", "samples.png")
    assert (result.exit_code, result.stdout) == (0, "samples.png\n")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("skipped: cifar10-train 32x32x3, S/4, ddpm, ")
    assert lines[0].endswith("lr 0.0002: no sample grid of in-context, adaln, adaln-zero")
    assert re.search(r"no sample grid of adaln-gate, [-\w]+, [-\w]+, \d+ more\n", result.stderr)
