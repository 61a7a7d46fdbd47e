"""`ditbench run`, end to end on 20 steps."""

import json
import re
import sys

import pytest
from clocks import without_clocks

from ditbench.models.registry import block_names
from ditbench.runs.events import progress
from ditbench.runs.planning import calibrate
from ditbench.training.device.backend import Backend


def only_result(out):
    (path,) = out.glob("**/result.json")
    return without_clocks(json.loads(path.read_text()))


def files_below(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*"))


def test_every_block_and_seed_leaves_a_run(experiment):
    result, out = experiment
    assert result.exit_code == 0, result.stderr
    assert len(list(out.glob("digits/*/seed[01]-*/result.json"))) == 8
    lines = result.stdout.splitlines()[:16]
    sentences, paths = lines[::2], lines[1::2]
    assert [line.split(",")[0] for line in sentences] == block_names("paper") * 2
    assert all("FID-40" in line and "20 steps" in line for line in sentences)
    assert paths == [str(next(out.glob(f"*/{block}/seed{seed}-*")))
                     for seed in (0, 1) for block in block_names("paper")]  # fmt: skip
    assert result.stderr.startswith("8 runs: 0 complete (skipped), 8 to go\n")
    assert "[1/8] in-context seed 0" in result.stderr
    assert "step 10/20  FID-40" in result.stderr


def test_a_run_of_several_blocks_ends_with_their_comparison(cli, experiment, tiny, no_training):
    """Of its own runs only, as `compare` prints them, and with the next command."""
    result, out = experiment
    assert result.stdout.endswith(f"\n\n{cli('compare', out).stdout}")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("next: ")]
    assert line == f"next: ditbench plot {out}/digits -o curve.png"
    arguments = ("run", *tiny, "--out", out)
    two = cli(*arguments, "--block", "adaln,adaln-zero").stdout.partition("\n\n")[2]
    assert two == cli("compare", *out.glob("digits/adaln*/seed0-*")).stdout
    one = cli(*arguments, "--block", "adaln", "--seeds", "2")
    assert len(one.stdout.splitlines()) == 4
    assert "next:" not in one.stderr


def test_a_complete_run_is_reported_and_not_trained(cli, experiment, tiny, no_training):
    result, out = experiment
    arguments = ("run", "--block", "paper", "--seeds", "0,1", *tiny, "--out", out)
    again = cli(*arguments)
    assert again.exit_code == 0
    assert again.stdout == result.stdout
    assert again.stderr.startswith("8 runs: 8 complete (skipped), 0 to go\n")
    assert len(again.stderr.splitlines()) == 2  # the other is the next command
    assert cli(*arguments, "--quiet").stderr == ""


def test_json_is_a_list_of_results(cli, results, tiny, no_training):
    result = cli("run", "--block", "adaln,adaln", *tiny, "--out", results, "--json", "--quiet")
    (row,) = json.loads(result.stdout)
    assert (row["block"], row["seed"], row["steps"]) == ("adaln", 0, 20)
    assert row["final"]["samples"] == 40
    assert row["path"] == str(next(results.glob("digits/adaln/seed0-*")))
    assert result.stderr == ""


def test_a_runs_own_config_repeats_it(cli, results, no_training):
    config = next(results.glob("digits/adaln/seed1-*/config.toml"))
    result = cli("run", "--block", "adaln", "--config", config, "--out", results, "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == str(config.parent)


def test_runs_record_how_many_seeds_were_planned(cli, results, tiny, tmp_path):
    for path in results.glob("**/env.json"):
        assert json.loads(path.read_text())["planned_seeds"] == 2
    cli("run", "--block", "adaln", *tiny, "--out", tmp_path, "--quiet")
    (path,) = tmp_path.glob("**/env.json")
    assert json.loads(path.read_text())["planned_seeds"] == 1
    before = path.read_bytes()
    cli("run", "--block", "adaln", "--seeds", "2", *tiny, "--out", tmp_path, "--quiet")
    assert path.read_bytes() == before  # of a complete run, nothing is written again
    planned = [
        json.loads(each.read_text())["planned_seeds"] for each in tmp_path.glob("**/env.json")
    ]
    assert sorted(planned) == [1, 2]
    more = ("--seeds", "2,", "--planned-seeds", "5", "--out", tmp_path, "--quiet")
    cli("run", "--block", "adaln", *more, *tiny)
    (path,) = tmp_path.glob("**/seed2-*/env.json")
    assert json.loads(path.read_text())["planned_seeds"] == 5


@pytest.mark.parametrize("planned", ["2", "0", "few", "-1"])
def test_fewer_planned_seeds_than_those_of_the_command_are_refused(
    mistake, elsewhere, tiny, planned
):
    arguments = ("--seeds", "3", "--planned-seeds", planned)
    error, _ = mistake("run", "--block", "adaln", *arguments, *tiny)
    assert f"--planned-seeds {planned}" in error.replace("'", "")
    assert files_below(elsewhere) == []


def test_a_number_of_seeds_is_a_count(cli, results, tiny, no_training):
    result = cli("run", "--block", "adaln", "--seeds", "2", *tiny, "--out", results, "--json")
    assert [row["seed"] for row in json.loads(result.stdout)] == [0, 1]
    assert result.stderr.startswith("2 runs: 2 complete (skipped), 0 to go\n")


def test_a_dry_run_reports_and_writes_nothing(cli, elsewhere, tiny):
    result = cli("run", "--block", "all", "--seeds", "3,4", *tiny, "--dry-run")
    assert result.exit_code == 0
    assert result.stderr == "".join(f"calibrating {block} on cpu\n" for block in block_names())
    assert "Training FLOPs = 3 x 2 x forward MACs x images" in result.stdout
    assert "~" not in result.stdout
    assert all(block in result.stdout for block in block_names())
    runs, blocks = 2 * len(block_names()), block_names()
    lines = result.stdout.splitlines()
    assert re.fullmatch(rf"About \S+ for {runs} runs, by a short calibration\.", lines[0])
    assert "Results go into results/digits." in lines
    assert "16x1x2/2 on digits 8x8x1, on cpu, flow, 2 evaluations" in lines
    rows = [line.split() for line in lines if line.split(" ")[0] in blocks]
    assert [row[:3] for row in rows] == [[block, "3,", "4"] for block in blocks]
    assert max(map(len, lines)) <= 80
    assert files_below(elsewhere) == []


def test_a_dry_run_groups_seeds_but_not_those_that_are_complete(cli, results, tiny):
    command = ("run", "--block", "adaln", *tiny, "--out", results, "--dry-run", "--seeds")
    lines = cli(*command, "7", "--quiet").stdout.splitlines()
    rows = [line.split("  ")[0].rstrip() for line in lines if line.startswith("adaln")]
    assert rows == ["adaln 0, 1 (complete)", "adaln 2 to 6"]
    assert lines[0].endswith(" for 5 runs; 2 complete, by a short calibration.")


@pytest.mark.parametrize("budget", [(), ("--flops", "3TF"), ("--time", "10m")])
def test_dry_run_fits_into_120_columns(cli, elsewhere, budget, monkeypatch):
    speed = calibrate.Speed(per_step=0.05, per_pass=1e-4, per_score=1e-5)
    monkeypatch.setattr(calibrate, "calibrate", lambda _run, _per_score: speed)
    result = cli("run", "--block", "all", "--seeds", "2", "--dry-run", *budget, "--device", "cpu")
    assert result.exit_code == 0
    assert "Compiled, which takes" not in result.stdout
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= 120


def test_dry_run_of_a_budget_of_time_marks_what_it_estimates(cli, elsewhere):
    arguments = ("run", "--block", "adaln", "--model", "16x1x2/2", "--time", "1h30m", "--dry-run",
                 "--backend", "plain")  # fmt: skip
    result = cli(*arguments, "--quiet")
    assert result.stderr == ""
    assert result.stdout.count("~") == 4
    (row,) = json.loads(cli(*arguments, "--json").stdout)
    assert row["estimated"] is True
    assert row["evaluation_seconds"][-1] == 5400
    assert row["expected_train_seconds"] == pytest.approx(5400, rel=0.01)
    assert row["steps"] * row["seconds_per_step"] == pytest.approx(row["expected_train_seconds"])
    assert files_below(elsewhere) == []


def test_what_cannot_be_compiled_is_refused_before_anything_is_written(
    cli, elsewhere, tiny, monkeypatch
):
    monkeypatch.setattr(
        "ditbench.training.device.compile.unavailable_reason", lambda _device: "no g++"
    )
    result = cli("run", "--block", "all", *tiny, "--backend", "compile")
    assert (result.exit_code, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert first == "error: the backend compile does not work here: no g++"
    assert second.startswith("help: compile needs a C++ compiler on a CPU")
    assert "--backend auto" in second
    result = cli("run", "--block", "all", *tiny, "--backend", "fast")
    assert result.exit_code == 2
    assert "train.backend = 'fast'" in result.stderr
    assert files_below(elsewhere) == []


def test_a_compiled_run_says_so(cli, elsewhere, tiny, monkeypatch):
    monkeypatch.setattr("ditbench.training.device.compile.unavailable_reason", lambda _device: None)
    monkeypatch.setattr(Backend, "prepare", lambda *_: None)
    result = cli("run", "--block", "adaln", *tiny, "--backend", "compile")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("compiling adaln: tens of seconds before training\n")
    facts = json.loads(next(elsewhere.glob("results/*/*/*/env.json")).read_text())
    assert (facts["backend"], facts["backend_fallback"]) == ("compile", None)


def test_a_run_under_flops_and_under_time(cli, elsewhere, tiny):
    rest = [part for part in tiny if part not in ("--steps", "20")]
    for budget in (("--flops", "500MF"), ("--time", "0.2s")):
        result = cli("run", "--block", "adaln", *rest, *budget, "--json", "--quiet")
        assert result.exit_code == 0, result.stderr
        (row,) = json.loads(result.stdout)
        assert row["final"]["ema_decay"] == 1.0
        assert row["train_flops"] > 0
        again = cli("run", "--block", "adaln", *rest, *budget)
        assert "already complete, skipped" in again.stderr


def test_dry_run_as_json(cli, results, tiny):
    result = cli("run", "--block", "adaln", "--seeds", "0,7", *tiny,
               "--out", results, "--dry-run", "--json")  # fmt: skip
    assert result.stderr == "calibrating adaln on cpu\n"
    done, new = json.loads(result.stdout)
    assert (done["complete"], new["complete"]) == (True, False)
    assert done["evaluation_steps"] == [10, 20]
    assert done["images"] == 20 * 16
    assert done["train_flops"] == pytest.approx(done["gflops"] * 1e9 * 3 * 320)
    assert done["expected_total_seconds"] is None
    assert new["expected_total_seconds"] == pytest.approx(
        20 * new["seconds_per_step"] + new["expected_eval_seconds"]
    )


def test_dry_run_says_what_is_complete(cli, results, tiny):
    result = cli("run", "--block", "adaln", "--seeds", "0,7", *tiny, "--out", results, "--dry-run")
    assert result.stdout.count("(complete)") == 1


def test_flags_reach_the_configuration(cli, elsewhere, tiny):
    result = cli("run", "--block", "adaln", *tiny, "--objective", "ddpm", "--lr", "2e-3",
               "--precision", "fp32", "--set", "train.warmup=0.5", "--json", "--quiet")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    config = (elsewhere / json.loads(result.stdout)[0]["path"] / "config.toml").read_text()
    for line in ('name = "ddpm"', "lr = 0.002", "warmup = 0.5", 'precision = "fp32"'):
        assert line in config


@pytest.mark.parametrize("step", [4, 15])
def test_an_interrupted_run_resumes_to_the_same_end(
    cli, tmp_path, tiny, results, monkeypatch, step
):
    arguments = ("run", "--block", "adaln-zero", *tiny, "--out", tmp_path)

    def interrupt(_self, row):
        if row.step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.Lines, "logged", interrupt)
        patch.setattr(progress.Lines, "_line", lambda *_: None)
        patch.setattr(sys, "argv", ["ditbench", *map(str, arguments)])
        result = cli(*arguments)
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr == (
        "interrupted, stopped at once, the last checkpoint is kept; to resume: ditbench "
        f"{' '.join(map(str, arguments))}\n"
    )
    assert not list(tmp_path.glob("**/result.json"))

    result = cli(*arguments)
    assert result.exit_code == 0
    # Before the first evaluation there is nothing to resume from.
    assert ("from step 10 of 20" if step > 10 else "for 20 steps") in result.stderr
    uninterrupted = next(results.glob("digits/adaln-zero/seed0-*"))
    assert only_result(tmp_path) == only_result(uninterrupted)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ("--steps 9 --time 1m", "--steps and --time are given together", "one budget"),
        ("--flops 1TF --time 1m", "--flops and --time are given together", "one budget"),
        ("--flops 0", "--flops '0' is not a number of FLOPs", "--flops 50PF"),
        ("--flops 1MF", "eval.points (6) exceed the steps of adaln", "--flops"),
        ("--time soon", "--time 'soon' is not a time", "--time 10m"),
        ("--time -5", "--time '-5' is not a time", "--time 10m"),
        ("--seeds 20000", "--seeds 20000 is a count of seeds", "--seeds 20000, with a comma"),
        (
            "--set budget.steps=9 --set budget.seconds=9",
            "budget.steps and budget.seconds",
            "one of",
        ),
        ("--set budget.flops=x", "budget.flops = 'x'", "budget.flops"),
        ("--set budget.step=9", "unknown key 'budget.step'", "budget.steps"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(mistake, elsewhere, arguments, error, hint):
    first, second = mistake("run", "--block", "adaln", *arguments.split())
    assert error in first
    assert hint in second
    assert files_below(elsewhere) == []


def test_a_dry_run_shows_matched_widths(cli, elsewhere):
    arguments = ("run", "--block", "adaln-zero,adaln", "--match", "parameters", "--dry-run",
                 "--device", "cpu")  # fmt: skip
    result = cli(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "adaln: 64 -> 68 wide, 4 heads: 0.332 of 0.329M parameters, +1.0%" in result.stderr
    assert "matched models on digits" in result.stdout
    assert "68x4x4/2" in result.stdout
    rows = json.loads(cli(*arguments, "--quiet", "--json").stdout)
    assert [row["model"] for row in rows] == ["64x4x4/2", "68x4x4/2"]
    unknown = cli("run", "--block", "adaln", "--match", "size", "--dry-run")
    assert unknown.exit_code == 2
    assert "unknown amount to match 'size'" in unknown.stderr


def test_a_run_that_diverged_says_why_wherever_it_is_read(cli, tiny, tmp_path):
    result = cli("run", "--block", "none", *tiny, "--lr", "1e30", "--out", tmp_path)
    assert result.exit_code == 1
    why = "diverged: at step 2 the loss is inf and the norm of the gradient nan"
    assert f"error: {why}" in result.stderr
    (run,) = tmp_path.glob("digits/none/*")
    shown = cli("show", run.rename(tmp_path / "moved"))
    assert shown.stdout.splitlines()[0] == "none, seed 0: no evaluation yet"
    assert shown.stderr == f"warning: this run is in no table: {why}\n"
    assert f"{run.parent.parent.parent / 'moved'}: failed: {why}" in cli("compare", tmp_path).stderr
    assert f"has no final score: {why}" in cli("reproduce", tmp_path / "moved").stderr
    assert "not comparable" not in cli("diff", tmp_path / "moved", tmp_path / "moved").stdout
