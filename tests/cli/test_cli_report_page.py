"""`ditbench report`: one HTML file of a results directory."""

import json
from html import unescape

import pytest


def test_report_writes_one_file(cli, results, elsewhere):
    result = cli("report", results)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "report.html\n", "")
    assert [path.name for path in elsewhere.iterdir()] == ["report.html"]
    text = (elsewhere / "report.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    title = text.partition("<title>")[2].partition("</title>")[0]
    (group,) = json.loads(cli("compare", results, "--format", "json").stdout)["groups"]
    assert unescape(title) == group["verdict"]["sentence"]


def test_report_of_some_blocks(succeed, results, elsewhere):
    succeed("report", results, "--block", "adaln,adaln-zero", "--baseline", "adaln", "-o", "a")
    text = (elsewhere / "a").read_text("utf-8")
    assert "FID / adaln" in text
    assert "cross-attention" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "none"], "unknown baseline 'none'"),
        (["--block", "joint"], "unknown block among these runs 'joint'"),
        (["-o", "/dev/null/report.html"], "cannot write /dev/null/report.html"),
    ],
)
def test_errors_are_lines(cli, results, elsewhere, options, message):
    result = cli("report", results, *options)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert f"error: {message}" in result.stderr
