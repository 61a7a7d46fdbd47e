"""The list of reference runs, with stages so small that a CPU makes them."""

import json
import shutil
import signal
import tarfile
import time
from pathlib import Path

import pytest
import torch

from ditbench.config import load
from ditbench.models.cost import count
from ditbench.plugins.lookup import find_block
from ditbench.report.reading.results import load_results
from ditbench.rundir import RunDirectory

LIST = """
[[stage]]
name = "first"
preset = "digits"
blocks = ["in-context", "adaln"]
seeds = [10, 11]
expect = 100
settings = {SETTINGS}
of.in-context = { "model.hidden_size" = 32 }

[[stage]]
name = "rates"
preset = "digits"
blocks = ["adaln"]
seeds = [1000]
rates = [1e-3, 1e-2]
fraction = 0.5
expect = 100
settings = {SETTINGS}

[[stage]]
name = "tuned"
preset = "digits"
directory = "digits-tuned"
blocks = ["adaln"]
seeds = [20]
tuned = true
expect = 100
settings = {SETTINGS}
"""
SETTINGS = (
    '{ "model.hidden_size" = 16, "model.depth" = 1, "model.num_heads" = 2, "budget.steps" = 4, '
    '"train.batch_size" = 16, "eval.points" = 2, "eval.samples" = 20, "eval.sampling_steps" = 2, '
    '"eval.final_sampling_steps" = 3 }'
)
COMMIT = "1" * 40
PLACE = Path(__file__).parents[2] / "docs" / "evidence"


@pytest.fixture
def commit():
    """The commit of the code, and whether the code differs from it."""
    return [COMMIT, False]


@pytest.fixture
def call(evidence, tmp_path, capsys, monkeypatch, commit):
    """Call the script with the small list; returns the exit code and what it printed."""
    (tmp_path / "list.toml").write_text(LIST.replace("{SETTINGS}", SETTINGS))
    monkeypatch.setattr(evidence, "source_commit", lambda: tuple(commit))

    def call(*arguments):
        places = ("--list", tmp_path / "list.toml", "--out", tmp_path / "out", "--device", "cpu")
        code = evidence.main([*map(str, places), *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def first(call, made, tmp_path):
    """The runs of the first stage, which are made once."""
    if not (made / "out").exists():
        call("--stage", "first")
        (tmp_path / "out").rename(made / "out")
    shutil.copytree(made / "out", tmp_path / "out")


def complete(tmp_path):
    found = (tmp_path / "out").rglob("result.json")
    return sorted(path.parent.relative_to(tmp_path / "out").as_posix()[:-9] for path in found)


FIRST = ["digits/adaln/seed10", "digits/adaln/seed11",
         "digits/in-context/seed10", "digits/in-context/seed11"]  # fmt: skip


def test_the_list_is_made_in_order_and_then_there_is_nothing_left(call, tmp_path):
    code, out, _ = call("--pack", tmp_path / "new.tar.gz")
    assert code == 0
    made = [line.split(":")[0] for line in out.splitlines() if "FID-20" in line]
    assert made[:4] == ["in-context, seed 10", "adaln, seed 10",
                        "in-context, seed 11", "adaln, seed 11"]  # fmt: skip
    assert complete(tmp_path) == ["digits-tuned/adaln/seed20", *FIRST,
                                  *["tune/digits/adaln/seed1000"] * 2]  # fmt: skip
    rows = [line.split() for line in out.splitlines()[-3:]]
    assert rows == [["first", "4", "4", "0", "0.0"], ["rates", "2", "2", "0", "0.0"],
                    ["tuned", "1", "1", "0", "0.0"]]  # fmt: skip
    runs = load_results(tmp_path / "out" / "digits")
    assert set(runs["sampling_steps"]) == {3}
    assert dict(zip(runs["block"], runs["model"], strict=True)) == {
        "in-context": "32x1x2/2", "adaln": "16x1x2/2"}  # fmt: skip
    for path in (tmp_path / "out").glob("digits/*/*/env.json"):
        facts = json.loads(path.read_text())
        assert (facts["planned_seeds"], facts["git_commit"]) == (2, COMMIT)
    (tuned,) = (tmp_path / "out").glob("digits-tuned/*/*/env.json")
    assert json.loads(tuned.read_text())["tuned_lr"]["seeds"] == [1000]
    with tarfile.open(tmp_path / "new.tar.gz") as archive:
        names = archive.getnames()
    assert not [name for name in names if "checkpoints" in name or ".lock" in name]
    assert sum(name.endswith("result.json") for name in names) == 7
    again = call("--pack", tmp_path / "none.tar.gz")
    assert again[0] == 0
    assert "FID-20" not in again[1]
    assert not (tmp_path / "none.tar.gz").exists()


def test_no_run_is_started_that_would_not_end(call, tmp_path):
    code, out, _ = call("--minutes", 2.6, "--stage", "first")  # the first needs 100 s and 60 more
    assert (code, complete(tmp_path)) == (0, [])
    assert "next: first, in-context seed 10, about 160 s" in out
    code, out, _ = call("--minutes", 2.9, "--stage", "first")
    assert complete(tmp_path) == FIRST
    assert "next" not in out


def test_what_a_run_takes_is_learnt_from_those_of_its_block(first, evidence, call, tmp_path):
    (stage,) = evidence.read_list(tmp_path / "list.toml", "first")
    plans = stage.plan(tmp_path / "out", None, torch.device("cpu"))
    results = [plan.directory.read_result() for plan in plans if plan.config.block == "adaln"]
    longest = max(result["train_seconds"] + result["eval_seconds"] for result in results)
    assert evidence.expected(plans[1], stage, plans) == pytest.approx(1.05 * longest)
    # Of another block, from its multiply-accumulates.
    for plan in plans:
        if plan.config.block == "in-context":
            plan.directory.result.unlink()
    by_cost = 1.15 * longest * plans[0].cost.gmacs / plans[1].cost.gmacs
    assert evidence.expected(plans[0], stage, plans) == pytest.approx(by_cost)


def test_a_dry_run_makes_nothing(call, tmp_path):
    code, out, _ = call("--dry-run")
    assert (code, complete(tmp_path)) == (0, [])
    assert "next: first, in-context seed 10" in out
    assert "stage tuned is left: no learning rate was tuned for adaln" in out
    assert ["first", "4", "0", "4", "0.1"] in [line.split() for line in out.splitlines()]


def test_a_seed_that_another_card_began_is_left(first, call, tmp_path):
    for run in (tmp_path / "out").glob("digits/*/seed10-*"):
        if run.parent.name == "adaln":
            shutil.rmtree(run)
        else:
            facts = json.loads((run / "env.json").read_text()) | {"device": "NVIDIA H200"}
            (run / "env.json").write_text(json.dumps(facts))
    (last,) = (tmp_path / "out").glob("digits/adaln/seed11-*")
    shutil.rmtree(last)
    code, out, _ = call("--stage", "first")
    assert code == 0
    assert "first, seed 10: begun on NVIDIA H200" in out
    assert complete(tmp_path) == FIRST[1:]
    call("--stage", "first", "--any-card")
    assert complete(tmp_path) == FIRST


def test_a_stage_is_made_from_one_commit(first, call, tmp_path, commit):
    (last,) = (tmp_path / "out").glob("digits/adaln/seed11-*")
    shutil.rmtree(last)
    commit[0] = "2" * 40
    code, _, error = call("--stage", "first")
    assert code == 2
    assert f"stage first has runs of commit {COMMIT}, not {'2' * 40}" in error
    commit[:] = COMMIT, True
    code, _, error = call("--stage", "first")
    assert code == 2
    assert "differs from its commit" in error
    code, _, _ = call("--stage", "first", "--any-commit")
    assert code == 0
    assert complete(tmp_path) == FIRST


def test_without_git_the_commit_can_be_given(call, tmp_path, commit):
    commit[:] = None, None
    _, out, _ = call("--stage", "first", "--commit", COMMIT)
    assert f"the commit is {COMMIT}" in out
    facts = [json.loads(path.read_text()) for path in tmp_path.rglob("env.json")]
    assert {each["git_commit"] for each in facts} == {COMMIT}


def test_an_interrupted_run_is_made_again_as_a_whole(call, tmp_path, evidence, monkeypatch):
    original = evidence.execute

    def interrupted(plan, reporter, stop):
        original(plan, reporter, stop)
        plan.directory.result.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "execute", interrupted)
        code, _, error = call("--stage", "first")
    assert code == 130
    assert "interrupted" in error
    (run,) = tmp_path.glob("out/digits/in-context/seed10-*")
    assert RunDirectory(run).checkpoints
    code, _, shown = call("--stage", "first")
    assert complete(tmp_path) == FIRST
    assert "from step" not in shown


def test_with_resume_a_run_is_saved_at_the_end_and_continued(call, tmp_path, evidence, monkeypatch):
    original = evidence.execute

    def too_slow(plan, reporter, stop):
        assert not stop
        if plan.config.block == "adaln":
            logged = reporter.logged

            def late(row):
                logged(row)
                stop.number = signal.SIGTERM

            reporter.logged = late
        return original(plan, reporter, stop)

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "execute", too_slow)
        code, out, error = call("--stage", "first", "--resume", "--minutes", 100)
    assert code == 0, error
    assert "saved: first, adaln seed 10; the same line continues it" in out
    assert complete(tmp_path) == ["digits/in-context/seed10"]
    code, _, shown = call("--stage", "first", "--resume", "--minutes", 100)
    assert "from step" in shown
    assert complete(tmp_path) == FIRST


def test_resume_keeps_a_checkpoint_of_this_card_only(first, evidence, call, tmp_path):
    (stage,) = evidence.read_list(tmp_path / "list.toml", "first")
    for card, kept in (("cpu", True), ("NVIDIA H200", False)):
        plan = stage.plan(tmp_path / "out", None, torch.device("cpu"))[0]
        plan.directory.result.unlink(missing_ok=True)
        assert not evidence.run_whole(plan, card, time.monotonic() - 1)  # too late for a step
        assert bool(plan.directory.checkpoints) == kept


def test_what_another_process_makes_or_has_made_is_left_to_it(evidence, call, tmp_path):
    (stage,) = evidence.read_list(tmp_path / "list.toml", "first")
    plans = stage.plan(tmp_path / "out", None, torch.device("cpu"))
    other = evidence.claimed(plans)
    assert next(other) is plans[0]
    code, out, _ = call("--stage", "first")
    assert (code, complete(tmp_path)) == (0, [name for name in FIRST if name != FIRST[2]])
    assert ["first", "4", "3", "1"] in [line.split()[:4] for line in out.splitlines()]
    assert list(other) == []  # the others are made
    call("--stage", "first")
    assert complete(tmp_path) == FIRST
    assert not list((tmp_path / "out").rglob(".seed*"))


def test_an_unknown_stage_is_one_line(call):
    code, _, error = call("--stage", "frist")
    assert code == 2
    assert error.splitlines()[0] == "error: unknown stage 'frist'"
    assert "first" in error


def test_the_list_is_as_planned(evidence):
    stages = {stage.name: stage for stage in evidence.read_list(PLACE / "list.toml")}
    assert list(stages) == ["ddpm", "all", "flow", "flow-rates", "ddpm-rates", "flow-tuned",
                            "ddpm-tuned", "matched"]  # fmt: skip
    planned = {name: len(stage.seeds) for name, stage in stages.items() if not stage.rates}
    eight, five = ("ddpm", "flow"), ("flow-tuned", "ddpm-tuned", "matched")
    assert planned == {**dict.fromkeys(eight, 8), **dict.fromkeys(five, 5), "all": 3}
    for one in stages.values():
        assert min(one.seeds) > 9  # seeds 0 to 2 are the pilot's
        swept = [each for each in stages.values() if each.rates]
        assert one.rates or not any(set(one.seeds) & set(each.seeds) for each in swept)


def test_matched_blocks_have_as_many_parameters(evidence):
    """Within 3%, so that they are ranked together."""
    (stage,) = evidence.read_list(PLACE / "list.toml", "matched")
    parameters = {}
    for block in stage.blocks:
        size = load(stage.preset, overrides=stage.of.get(block)).model.size
        cost = count(
            find_block(block), size, height=32, width=32, channels=3, out_channels=3, num_classes=10
        )
        parameters[block] = cost.parameters
    assert parameters == pytest.approx(
        dict.fromkeys(stage.blocks, parameters["adaln-zero"]), rel=0.03
    )
