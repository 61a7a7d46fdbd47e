"""`ditbench run --continue`, and what `run` says where a run could be continued."""

import json
import os
from pathlib import Path

import pytest

from ditbench.config import read_toml, validate

MORE = ("--steps", "40", "--device", "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cli, succeed, tiny):
    """A complete run of 20 steps, and the longer run that continues it."""
    out = tmp_path_factory.mktemp("continued") / "mine"
    result = succeed("run", "--block", "adaln", "--seeds", "3,", *tiny, "--out", out)
    parent = Path(result.stdout.splitlines()[-1])
    return parent, cli("run", "--continue", parent, *MORE)


def test_the_child_lies_beside_its_parent_and_says_where_it_starts(finished):
    parent, result = finished
    assert result.exit_code == 0, result.stderr
    child = Path(result.stdout.splitlines()[-1])
    assert child.parent == parent.parent
    assert child.name.startswith("seed3-")
    assert "from step 20 of 40 steps" in result.stderr
    config = validate(read_toml(child / "config.toml"))
    assert (config.block, config.seed, config.budget.steps) == ("adaln", 3, 40)
    assert config.parent.path == parent
    assert config.train.warmup == pytest.approx(0.02)
    assert config.eval.points == 4
    environment = json.loads((child / "env.json").read_text())
    assert environment["planned_seeds"] == 1
    assert environment["parent"] == {"path": str(parent), "device": "cpu"}


def test_the_same_command_says_that_it_is_complete(finished, cli, succeed, tmp_path, monkeypatch):
    parent, first = finished
    monkeypatch.chdir(parent.parents[3])
    again = cli("run", "--continue", parent.relative_to(Path.cwd()), *MORE, "--data", parent)
    assert again.exit_code == 2  # a run directory holds no images
    again = succeed("run", "--continue", os.path.relpath(parent), *MORE)
    assert "already complete" in again.stderr
    assert again.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert again.stdout.splitlines()[1] in first.stdout.splitlines()[1]


def test_compare_and_plot_rank_the_child_apart_and_draw_all_of_its_curve(
    finished, cli, succeed, tmp_path
):
    parent, _ = finished
    result = cli("compare", parent.parents[2], "--format", "json")
    rows = [row for group in json.loads(result.stdout)["groups"] for row in group["rows"]]
    assert sorted(row["steps"] for row in rows) == [20, 40]
    assert all(row["fid_area"] is not None for row in rows)
    figure = tmp_path / "curve.svg"
    succeed("plot", parent.parents[2], "-o", figure)
    assert "40" in figure.read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--lr", "1e-4"), "--continue does not take --lr"),
        (("--block", "adaln"), "--continue does not take --block"),
        (("--seeds", "2"), "--continue does not take --seeds"),
        (("--init", "dit.pt"), "--continue does not take --init"),
        (("--preset", "digits"), "--continue does not take --preset"),
        (("--config", "x.toml"), "--continue does not take --config"),
        (("--match", "flops"), "--continue does not take --match"),
        (("--model", "32x1x2/2"), "model.hidden_size is 16 in"),
        (("--batch-size", "32"), "train.batch_size is 16 in"),
        (("--objective", "ddpm"), "objective.name is flow in"),
        (("--precision", "bf16"), "train.precision is fp32 in"),
        (("--set", "train.lr=1e-4"), "train.lr is 0.001 in"),
        (("--set", "eval.points=9"), "eval.points is 4 in"),
        (("--set", "budget.steps=50"), "budget.steps is 40 in"),
        (("--set", "seed=1"), "seed is 3 in"),
        (("--flops", "1e9"), "--steps and --flops are given together"),
        (("--time", "1m"), "--steps and --time are given together"),
    ],
)
def test_options_that_change_what_is_trained_are_refused(finished, mistake, arguments, reason):
    parent, _ = finished
    assert reason in " ".join(mistake("run", "--continue", parent, *MORE, *arguments))


def test_options_that_do_not_are_taken(finished, succeed):
    parent, _ = finished
    taken = ("--backend", "plain", "--set", "eval.draws=1", "--batch-size", "16")
    succeed("run", "--continue", parent, *MORE, *taken, "--quiet")


def test_how_much_longer_has_to_be_said(finished, cli, mistake):
    parent, _ = finished
    assert "lacks --steps" in mistake("run", "--continue", parent)[0]
    result = cli("run", "--continue", parent, "--steps", "20")
    assert "is not above the 20 steps" in result.stderr


def test_a_longer_run_from_the_start_says_that_a_shorter_one_exists(finished, cli, succeed, tiny):
    parent, _ = finished
    command = ("run", "--block", "adaln", "--seeds", "3,", *tiny, "--out", parent.parents[2])
    longer = succeed(*command, "--steps", "30", "--quiet")
    assert longer.stderr == ""
    fourfold = cli(*command, "--steps", "80")
    (line,) = (line for line in fourfold.stderr.splitlines() if "--continue" in line)
    assert " is this run with fewer steps; to continue it: ditbench run --continue " in line
    assert line.endswith(" --steps 80")
    command = (*command, "--seeds", "3,4", "--dry-run", "--steps")
    cli(*command[:-2], "--steps", "30", "--quiet")
    two = cli(*command, "90")
    assert "2 of these runs exist with fewer steps; to continue the first: " in two.stderr
    assert "--continue" not in cli(*command).stderr


def test_a_block_of_ones_own_is_continued_while_its_file_stays(cli, succeed, tiny, elsewhere):
    text = "from ditbench.models.blocks.in_context import InContextBlock\n"
    file = elsewhere / "mine.py"
    file.write_text(text + "class Mine(InContextBlock):\n    pass\n")
    first = cli("run", "--block", f"{file}:Mine", *tiny)
    parent = first.stdout.splitlines()[-1]
    succeed("run", "--continue", parent, *MORE)
    file.write_text(file.read_text() + "# edited\n")
    result = cli("run", "--continue", parent, "--steps", "50")
    assert result.exit_code == 2
    assert "has changed" in result.stderr
    assert "strategy.py is a copy" in result.stderr
