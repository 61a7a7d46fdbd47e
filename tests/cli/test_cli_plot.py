"""`ditbench plot`: its kinds, and options that do not fit them."""

import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.mark.parametrize(("options", "suffix"), [(("--kind", "pareto"), "svg"),
                                                 (("--kind", "pareto", "--paper"), "png"),
                                                 (("--paper",), "pdf"),
                                                 (("--paper", "--x", "time"), "png")])  # fmt: skip
def test_plot_kinds(cli, results, elsewhere, options, suffix):
    result = cli("plot", results, *options, "-o", f"figure.{suffix}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"figure.{suffix}\n", "")
    assert (elsewhere / f"figure.{suffix}").stat().st_size > 1000


def test_paper_changes_the_figure(cli, results, elsewhere):
    for name, options in (("with.png", ["--paper"]), ("without.png", [])):
        assert cli("plot", results, "-o", name, *options).exit_code == 0
    assert (elsewhere / "with.png").read_bytes() != (elsewhere / "without.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ("--kind pareto --x flops", "--x flops does not fit --kind pareto", "--kind curve"),
        ("--kind samples --x steps", "--x steps does not fit --kind samples", "leave out --x"),
        (
            "--kind samples --paper",
            "--paper does not fit --kind samples",
            "--kind curve, ranking or pareto",
        ),
        ("--kind paretto", "unknown kind of plot 'paretto'", "did you mean pareto?"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(mistake, results, elsewhere, options, message, hint):
    error, help_ = mistake("plot", results, *options.split())
    assert message in error
    assert hint in help_
    assert not list(elsewhere.iterdir())


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
    assert _figure_of(cli, elsewhere, *paper) == _figure_of(
        cli, elsewhere, *paper, "--kind", "curve"
    )


def test_times_of_different_devices_are_left_out_with_one_note(cli, elsewhere):
    result = cli("plot", REFERENCE / "pilot" / "digits", "--kind", "pareto")
    assert (result.exit_code, result.stdout) == (0, "ditbench.png\n")
    (note,) = result.stderr.splitlines()
    assert note.startswith("skipped: training time of digits 8x8x1")
    assert "different devices" in note
    result = cli("plot", REFERENCE / "pilot" / "digits", "--x", "time")
    assert result.exit_code == 2
    assert "--x steps" in result.stderr


def test_groups_without_sample_grids_are_skipped_with_a_note_each(cli, elsewhere):
    result = cli("plot", REFERENCE / "pilot", "--kind", "samples", "-o", "samples.png")
    assert (result.exit_code, result.stdout) == (0, "samples.png\n")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("skipped: cifar10-train 32x32x3, S/4, ddpm, ")
    assert lines[0].endswith("lr 0.0002: no sample grid of in-context, adaln, adaln-zero")
    assert re.search(r"no sample grid of adaln-gate, [-\w]+, [-\w]+, \d+ more\n", result.stderr)
