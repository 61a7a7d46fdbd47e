"""What `ditbench tune` refuses, and what it makes of runs that diverge, fail or are damaged."""

import json

import pytest
from found import only

from ditbench.data.dataset import NanSamples
from ditbench.errors import DitbenchError
from ditbench.runs import run, sweep
from ditbench.training.nonfinite import Diverged
from ditbench.training.trainer import Trainer

RATES = ("--lr", "1e-3,1e-2", "--budget-fraction", "0.5")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--lr", "1e-3,x"), "--lr 'x' is not a learning rate"),
        (("--lr", ""), "--lr '' is not a learning rate"),
        (("--lr", "1e-3,nan"), "--lr 'nan' is not a learning rate"),
        (("--lr", "0,1e-3"), "--lr '0,1e-3' is not above 0"),
        (("--lr", "tuned"), "--lr 'tuned' is not a learning rate"),
        (("--budget-fraction", "0"), "--budget-fraction 0 is not a fraction of the budget"),
        (("--budget-fraction", "1.5"), "--budget-fraction 1.5 is not a fraction of the budget"),
        (("--budget-fraction", "nan"), "--budget-fraction nan is not a fraction of the budget"),
        (("--seeds", "-1"), "--seeds '-1' is not a list of whole numbers"),
        (("--json", "--format", "csv"), "--json and --format csv are given together"),
        (("--format", "cvs"), "unknown format 'cvs'"),
        (("-o", "sweep.txt"), "unknown suffix '.txt'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(mistake, tmp_path, options, line):
    sweep = ("tune", "--block", "adaln", "--device", "cpu", "--out", tmp_path / "out")
    assert line in mistake(*sweep, *options)[0]
    assert not (tmp_path / "out").exists()


def diverging(monkeypatch, above):
    """Training diverges at rates above one; returns how often it was tried."""
    tried = []

    def update(self):
        if self.config.train.lr > above:
            tried.append(self.config.train.lr)
            raise Diverged(1, float("nan"), 1.0, self.config.train.lr)
        return before(self)

    before = Trainer.update
    monkeypatch.setattr(Trainer, "update", update)
    return tried


def test_a_rate_that_diverges_counts_as_the_worst_and_stops_nothing(
    cli, succeed, tiny, tmp_path, monkeypatch
):
    tried = diverging(monkeypatch, above=5e-3)
    arguments = ("tune", "--block", "adaln,in-context", *RATES, *tiny, "--out", tmp_path)
    result = succeed(*arguments, "--format", "md")
    assert result.stderr.count("failed: ") == 2
    assert "failed: adaln lr 0.01 seed 1000: diverged: at step 1" in result.stderr
    for line in result.stdout.splitlines()[2:]:
        assert "| diverged | 0.001 |" in line
    again = cli(*arguments, "--format", "md")
    assert again.stdout == result.stdout
    assert again.stderr.startswith("4 runs: 2 complete and 2 diverged (skipped), 0 to go\n")
    assert tried == [1e-2, 1e-2]
    succeed("run", "--block", "adaln", "--lr", "tuned", *tiny, "--out", tmp_path, "--quiet")


def test_a_block_that_diverges_at_every_rate_ends_the_sweep_with_1(
    cli, mistake, tiny, tmp_path, monkeypatch
):
    diverging(monkeypatch, above=0)
    result = cli("tune", "--block", "adaln", *RATES, *tiny, "--out", tmp_path)
    assert result.exit_code == 1
    assert "diverged at every rate: try lower ones" in result.stdout
    *_, error, help_ = result.stderr.splitlines()
    assert error == "error: every learning rate diverged: adaln"
    assert help_ == "help: try lower ones: --lr 1e-04,3e-04"
    error, _ = mistake("run", "--block", "adaln", "--lr", "tuned", *tiny, "--out", tmp_path, code=1)
    assert "diverged at every learning rate of its sweep" in error


def test_samples_that_are_not_numbers_count_as_diverged(succeed, tiny, tmp_path, monkeypatch):
    before = run.evaluate

    def evaluate(plan, *arguments):
        if plan.config.train.lr > 5e-3:
            raise NanSamples
        return before(plan, *arguments)

    monkeypatch.setattr(run, "evaluate", evaluate)
    result = succeed("tune", "--block", "adaln", *RATES, *tiny, "--out", tmp_path, "--json")
    assert json.loads(result.stdout)[0]["diverged"] == "0.01"
    failure = json.loads(only(tmp_path, "**/failure.json").read_text())
    assert failure["step"] == 10


def test_a_failure_for_another_reason_says_nothing_of_the_rate(
    cli, mistake, succeed, tiny, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        execute = sweep.execute

        def no_room(plan, *arguments):
            if plan.config.block == "adaln" and plan.config.train.lr == 1e-3:
                raise DitbenchError("no room", "make some", 1)
            return execute(plan, *arguments)

        patch.setattr(sweep, "execute", no_room)
        arguments = ("tune", "--block", "adaln,in-context", *RATES, *tiny, "--out", tmp_path)
        result = cli(*arguments)
    assert result.exit_code == 1
    assert "failed: adaln lr 0.001 seed 1000: no room" in result.stderr
    assert "not finished: 1 of 2 runs missing" in result.stdout
    assert "error: 1 run failed, first adaln lr 0.001 seed 1000" in result.stderr
    error, _ = mistake("run", "--block", "adaln", "--lr", "tuned", *tiny, "--out", tmp_path)
    assert "the sweep of adaln is not finished: 1 of 2 runs are missing" in error
    again = succeed(*arguments)
    assert again.stderr.startswith("4 runs: 3 complete and 0 diverged (skipped), 1 to go\n")


def test_a_sweep_that_lacks_an_earlier_one_s_seeds_says_which(cli, succeed, tiny, tmp_path):
    arguments = ("tune", "--block", "adaln", *tiny, "--out", tmp_path, "--quiet")
    fraction = ("--budget-fraction", "0.5")
    succeed(*arguments, "--lr", "1e-3", "--seeds", "2", *fraction)
    result = cli(*arguments, "--lr", "1e-2", *fraction)
    assert result.exit_code == 1
    assert "not finished: 1 of 4 runs missing" in result.stdout
    assert "an earlier sweep has rates or seeds that this one lacks" in result.stderr
    assert "help: add --lr 0.001,0.01 --seeds 1000,1001," in result.stderr


def test_a_complete_run_that_cannot_be_read_is_named(cli, succeed, tiny, tmp_path):
    arguments = ("tune", "--block", "adaln", *RATES, *tiny, "--out", tmp_path, "--quiet")
    succeed(*arguments)
    first = sorted(tmp_path.glob("tune/digits/adaln/*"))[0]
    (first / "eval.csv").write_text("")
    result = cli(*arguments)
    assert result.exit_code == 1
    assert f"skipped: {first}: eval.csv was changed after the run ended" in result.stderr
    assert f"error: {first} is complete, but cannot be read" in result.stderr
