"""`ditbench tune` and `run --lr tuned`, end to end on ten steps."""

import json
import os
import shutil
import signal

import pytest
from found import only

from ditbench import few
from ditbench.training.trainer import Trainer

RATES = ("--lr", "1e-3,1e-2", "--budget-fraction", "0.5")


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, cli, tiny):
    """The output of a sweep of two blocks, and its results directory: read only."""
    out = tmp_path_factory.mktemp("tuned") / "results"
    return cli("tune", "--block", "adaln,in-context", *RATES, *tiny, "--out", out), out


def lowest(out, block):
    """The rate of the lowest FID, read from the runs by other means than ours."""
    found = {}
    for path in out.glob(f"tune/digits/{block}/*/result.json"):
        log = (path.parent / "config.toml").read_text()
        (rate,) = (line.split(" = ")[1] for line in log.splitlines() if line.startswith("lr = "))
        found[json.loads(path.read_text())["final"]["fid_40"]] = float(rate)
    return found[min(found)], found


def test_a_sweep_runs_every_rate_and_prints_the_best(tuned):
    result, out = tuned
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("4 runs: 0 complete and 0 diverged (skipped), 4 to go\n")
    assert "[1/4] adaln lr 0.001 seed 1000" in result.stderr
    assert len(list(out.glob("tune/digits/*/seed1000-*/result.json"))) == 4
    title, *_, remark = result.stdout.splitlines()
    assert title == "Mean final FID by learning rate: 10 steps per run, seed 1000"
    for block in ("adaln", "in-context"):
        (row,) = (line for line in result.stdout.splitlines() if line.startswith(f"{block} "))
        best, fids = lowest(out, block)
        assert row.endswith(f" {best:g}")
        assert block in remark.partition(":")[0]
        assert all(f"{fid:.2f}" in row for fid in fids)
    assert remark == "adaln, in-context: best at the edge: widen the grid above 0.01"


def test_each_run_of_a_sweep_is_scored_once_at_its_end(tuned):
    for path in tuned[1].glob("tune/digits/*/*/eval.csv"):
        _, line = path.read_text().splitlines()
        assert line.startswith("10,")


def test_the_same_sweep_again_trains_nothing(cli, tuned, tiny, no_training, tmp_path):
    result, out = tuned
    arguments = ("tune", "--block", "adaln,in-context", *RATES, *tiny, "--out", out)
    again = cli(*arguments)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert again.stderr.startswith("4 runs: 4 complete and 0 diverged (skipped), 0 to go\n")
    as_json = cli(*arguments, "--json", "--quiet")
    rows = json.loads(as_json.stdout)
    assert [row["lr"] for row in rows] == [lowest(out, row["block"])[0] for row in rows]
    assert as_json.stderr == ""
    file = tmp_path / "sweep.csv"
    assert cli(*arguments, "-o", file, "--quiet").stdout == ""
    assert file.read_text().startswith("block,lr,fid_at_0.001,fid_at_0.01,diverged,")


def test_a_run_takes_the_tuned_rates(cli, succeed, tuned, tiny, tmp_path):
    out = shutil.copytree(tuned[1], tmp_path / "results")
    best = {block: lowest(tuned[1], block)[0] for block in ("adaln", "in-context")}
    arguments = ("run", "--block", "adaln,in-context", "--lr", "tuned", *tiny, "--out", out)
    result = cli(*arguments, "--dry-run", "--json", "--quiet")
    assert {row["block"]: row["lr"] for row in json.loads(result.stdout)} == best
    result = succeed(*arguments)
    listed = ", ".join(f"{block} {rate:g}" for block, rate in best.items())
    line = f"learning rates, tuned with 10 steps per run in {out / 'tune'}: {listed}"
    assert result.stderr.startswith(line + "\n")
    for block, rate in best.items():
        directory = only(out, f"digits/{block}/seed0-*")
        assert f"\nlr = {rate}\n" in (directory / "config.toml").read_text()
        note = json.loads((directory / "env.json").read_text())["tuned_lr"]
        assert note == {
            "from": str(out / "tune"), "rates": [1e-3, 1e-2], "seeds": [1000],
            "budget": "10 steps", "metric": "fid",
        }  # fmt: skip
        # The number given by hand is the same run.
        by_hand = cli("run", "--block", block, "--lr", str(rate), *tiny, "--out", out)
        assert "already complete" in by_hand.stderr
    compared = cli("compare", out, "--format", "json")
    rows = [row for group in json.loads(compared.stdout)["groups"] for row in group["rows"]]
    assert [row["budget"] for row in rows] == ["20 steps"] * 2
    assert "2 groups of runs" in cli("compare", out / "tune").stdout


def test_where_images_are_few_kid_chooses_and_a_line_says_so(
    cli, tuned, tiny, no_training, monkeypatch
):
    monkeypatch.setattr(few, "OWN_CLASSIFIERS", ())
    result = cli("tune", "--block", "adaln,in-context", *RATES, *tiny, "--out", tuned[1])
    assert result.stdout.startswith("Mean final KID by learning rate: 10 steps per run, seed 1000")
    assert "KID-40 ↓" in result.stdout
    assert "\nthe lowest mean KID is chosen: 1,797 real images and 40 samples are" in result.stderr
    planned = cli("run", "--block", "adaln", "--lr", "tuned", *tiny, "--out", tuned[1], "--dry-run")
    assert planned.stderr.startswith("learning rates, tuned by KID with 10 steps per run in ")


@pytest.mark.parametrize(
    ("options", "line", "hint"),
    [
        (("--block", "joint"), "no learning rate was tuned for joint under this configuration",
         "`ditbench tune --block joint`"),
        (("--block", "adaln", "--batch-size", "8"), "(a sweep has train.batch_size 16)",
         "`ditbench tune --block adaln`"),
        (("--block", "adaln", "--seeds", "0,1000"),
         "seed 1000 was used to choose the learning rate of adaln", "--seeds 0,1,2"),
    ],
)  # fmt: skip
def test_a_run_without_a_tuned_rate_is_refused(mistake, tuned, tiny, options, line, hint):
    before = sorted(tuned[1].rglob("*"))
    error, help_ = mistake("run", *tiny, *options, "--lr", "tuned", "--out", tuned[1])
    assert line in error
    assert hint in help_
    assert sorted(tuned[1].rglob("*")) == before


def test_a_dry_run_prints_each_rate_and_writes_nothing(cli, tiny, tmp_path):
    arguments = ("tune", "--block", "adaln", *RATES, *tiny, "--seeds", "2", "--dry-run")
    rows = json.loads(cli(*arguments, "--json", "--out", tmp_path / "out").stdout)
    assert [(row["seed"], row["lr"], row["steps"]) for row in rows] == [
        (1000, 1e-3, 10), (1000, 1e-2, 10), (1001, 1e-3, 10), (1001, 1e-2, 10)]  # fmt: skip
    result = cli(*arguments, "--out", tmp_path / "out")
    assert "0.001" in result.stdout
    assert result.stderr.count("calibrating") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (("--steps", "7"), "2 steps"),
        (("--flops", "1e9"), "250 MFLOPs"),
        (("--time", "0.4"), "0.1 s"),
    ],
)
def test_any_budget_is_cut(cli, tiny, tmp_path, budget, expected):
    options = [part for part in tiny if part not in ("--steps", "20")]
    out = tmp_path / "out"
    ran = cli("tune", "--block", "adaln", "--lr", "1e-3", "--budget-fraction", "0.25", *options,
              *budget, "--out", out, "--json", "--quiet")  # fmt: skip
    (row,) = json.loads(ran.stdout)
    assert row["budget"] == expected
    assert (ran.exit_code, row["remark"]) == (0, "only one rate: nothing was chosen")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_resumes_by_the_same_command(
    cli, succeed, tuned, tiny, tmp_path, monkeypatch, number, code
):
    arguments = ("tune", "--block", "adaln,in-context", *RATES, *tiny, "--out", tmp_path)
    updates = []
    with monkeypatch.context() as patch:
        before = Trainer.update

        def signalled(self):
            updates.append(self.config.train.lr)
            if len(updates) == 14:  # the fourth step of the second run
                os.kill(os.getpid(), number)
            return before(self)

        patch.setattr(Trainer, "update", signalled)
        result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1].startswith("interrupted, saved; to resume: ")
    refused = cli("run", "--block", "adaln", "--lr", "tuned", *tiny, "--out", tmp_path)
    assert "the sweep of adaln is not finished: 1 of 2 runs are missing" in refused.stderr
    again = succeed(*arguments)
    assert "from step 4 of 10 steps" in again.stderr
    assert again.stderr.startswith("4 runs: 1 complete and 0 diverged (skipped), 3 to go\n")
    assert again.stdout == tuned[0].stdout
