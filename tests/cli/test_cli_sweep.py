"""Several runs in one command, of which one fails."""

import json
from unittest.mock import Mock

import pytest

from ditbench.runs import sweep
from ditbench.training.nonfinite import Diverged


@pytest.fixture
def one_diverges(monkeypatch):
    """The run of `none` diverges; the others train."""
    original = sweep.execute

    def execute(plan, *arguments):
        if plan.config.block == "none":
            raise Diverged(2, float("inf"), float("nan"), 1e-3)
        return original(plan, *arguments)

    monkeypatch.setattr(sweep, "execute", execute)


REASON = "diverged: at step 2 the loss is inf and the norm of the gradient nan"


def test_the_others_are_trained_and_the_end_says_which_failed(cli, one_diverges, tiny, tmp_path):
    arguments = ("run", "--block", "none,adaln", "--seeds", "2", *tiny, "--out", tmp_path)
    result = cli(*arguments)
    assert result.exit_code == 1
    runs = [line.split(":")[0] for line in result.stdout.splitlines()[::2]]
    assert runs == ["adaln, seed 0", "adaln, seed 1"]
    first, second, hint = result.stderr.splitlines()[-3:]
    assert first == f"failed: none seed 0, none seed 1: {REASON}"
    assert second == "error: 2 of 4 runs failed"
    assert "--lr 3e-04" in hint
    assert hint.endswith("the same command runs only these")
    assert f"failed: none seed 0: {REASON}" in result.stderr.splitlines()
    quiet = cli(*arguments, "--quiet")
    assert quiet.stdout == result.stdout
    kinds = [line.split(":")[0] for line in quiet.stderr.splitlines()]
    assert kinds == ["failed", "failed", "error", "help"]
    assert len(list(tmp_path.rglob("result.json"))) == 2


def test_json_holds_what_finished(cli, one_diverges, tiny, tmp_path):
    result = cli("run", "--block", "none,adaln", *tiny, "--out", tmp_path, "--json")
    assert result.exit_code == 1
    assert [row["block"] for row in json.loads(result.stdout)] == ["adaln"]


def test_a_single_run_that_fails_is_one_error(cli, one_diverges, tiny, tmp_path):
    result = cli("run", "--block", "none", *tiny, "--out", tmp_path, "--quiet")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == f"error: {REASON}"
    assert len(result.stderr.splitlines()) == 2


def test_an_error_after_files_were_written_has_exit_code_1(cli, tiny, tmp_path, monkeypatch):
    """2 says that nothing was written."""
    from ditbench.errors import DitbenchError
    from ditbench.metrics.scorer import Scorer

    monkeypatch.setattr(Scorer, "compute", Mock(side_effect=DitbenchError("no score", "none")))
    result = cli("run", "--block", "adaln", *tiny, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert list(tmp_path.rglob("train.csv"))


def test_the_output_of_a_sweep_is_checked_before_it_is_trained(
    mistake, tiny, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    table = tmp_path / "file" / "table.csv"
    error, _ = mistake(
        "tune", "--block", "adaln", *tiny, "--out", tmp_path / "results", "-o", table, code=1
    )
    assert "cannot write" in error
    assert not (tmp_path / "results").exists()


def test_so_are_those_of_bench_and_sample(mistake, one_run, tmp_path, monkeypatch):
    from ditbench.bench import measure
    from ditbench.runs.scoring import sample

    def refuse(*_arguments):
        raise AssertionError("it computes")

    monkeypatch.setattr(measure, "bench", refuse)
    monkeypatch.setattr(sample, "sample_images", refuse)
    (tmp_path / "file").write_text("")
    for command, name in (
        (("bench", "--block", "adaln", "--model", "16x1x2/2"), "table.csv"),
        (("sample", one_run, "--device", "cpu"), "grid.png"),
    ):
        assert "cannot write" in mistake(*command, "-o", tmp_path / "file" / name, code=1)[0]
