"""Blocks of equal size: widths are chosen before training, and a run is then like any other."""

import json

import pytest
import torch

from ditbench.config import load
from ditbench.errors import DitbenchError
from ditbench.runs.planning.match import match_sizes
from ditbench.runs.planning.plan import count_cost, plan_tasks, resolve_all
from ditbench.runs.run import execute
from ditbench.runs.sweep import plan_sweep

CPU = torch.device("cpu")


def match(by, *blocks, **values):
    base = load("digits", overrides={key.replace("__", "."): each for key, each in values.items()})
    configs = [base.with_values(block=block, seed=seed) for seed in (0, 1) for block in blocks]
    said = []
    tasks, notes = match_sizes(configs, resolve_all(configs, CPU), by, said.append)
    return tasks, notes, said


@pytest.mark.parametrize(("by", "field"), [("parameters", "parameters"), ("flops", "gmacs")])
def test_each_block_comes_as_near_as_a_width_can(by, field):
    blocks = ("adaln-zero", "in-context", "cross-attention", "adaln-lora")
    tasks, notes, said = match(by, *blocks)
    target = getattr(count_cost(tasks[0]), field)
    assert tasks[0].config.model.size.name == "64x4x4/2"  # the reference stays
    assert set(notes) == set(blocks[1:])
    assert len(said) == 3
    for task in tasks[1:4]:
        model = task.config.model
        assert (model.depth, model.patch_size) == (4, 2)
        error = abs(getattr(count_cost(task), field) / target - 1)
        for width in (model.hidden_size - 4, model.hidden_size + 4):
            config = task.config.with_values(model__hidden_size=width, model__num_heads=4)
            # A nearer width is not used only if whole heads are within 3%.
            other = resolve_all([config], CPU)[0]
            assert error <= max(0.03, abs(getattr(count_cost(other), field) / target - 1))
    assert [task.config.model for task in tasks[:4]] == [task.config.model for task in tasks[4:]]


def test_the_sentence_says_how_near():
    _, notes, said = match("parameters", "in-context", "adaln")
    assert said == [
        "in-context: 64 -> 80 wide, 5 heads: 0.339 of 0.329M parameters, +3.0%",
        "adaln: 64 -> 68 wide, 4 heads: 0.332 of 0.329M parameters, +1.0%",
    ]
    assert notes["adaln"]["match"]["to"] == "adaln-zero"
    assert notes["adaln"]["match"]["relative_difference"] == pytest.approx(0.011, abs=0.001)


def test_what_no_width_reaches_is_said():
    (sentence,) = match("parameters", "in-context", model__hidden_size=8, model__num_heads=1)[2]
    assert sentence.endswith("which is not within 3%")


def test_the_reference_need_not_be_run():
    alone, among = (match("parameters", *blocks)[0] for blocks in
                    (["in-context"], ["joint", "in-context"]))  # fmt: skip
    assert alone[0].config == among[1].config


def test_options_of_a_block_follow_the_width_unless_given():
    follow = match("parameters", "adaln-lora")[0][0].config
    assert follow.options == {"lora_rank": follow.model.hidden_size // 4}
    given = match("parameters", "adaln-lora", options={"lora_rank": 8})[0][0].config
    assert given.options == {"lora_rank": 8}


def test_without_an_amount_nothing_changes_and_another_is_unknown():
    tasks, notes, said = match(None, "in-context")
    assert (tasks[0].config.model.hidden_size, notes, said) == (64, {}, [])
    with pytest.raises(DitbenchError, match="unknown amount to match 'gmac'"):
        match("gmac", "in-context")


def test_a_sweep_has_the_same_widths(tmp_path):
    base, blocks, grid = load("digits"), ["adaln-zero", "adaln"], {"rates": [1e-3], "seeds": [1000]}
    plans = plan_sweep(base, blocks, tmp_path, CPU, **grid, fraction=0.1, match="parameters")
    assert [plan.cost.model for plan in plans] == ["64x4x4/2", "68x4x4/2"]
    assert [sorted(plan.notes) for plan in plans] == [["sweep"], ["match", "sweep"]]


def test_a_matched_run_is_an_ordinary_run_of_that_model(tmp_path):
    tiny = {"train__batch_size": 16, "budget__steps": 2, "eval__points": 1, "eval__samples": 20,
            "eval__sampling_steps": 1, "model__depth": 1}  # fmt: skip
    tasks, notes, _ = match("parameters", "in-context", **tiny)
    plan = plan_tasks(tasks[:1], tmp_path)[0].with_notes(notes["in-context"])
    size = plan.config.model.size
    base = load("digits", overrides={key.replace("__", "."): each for key, each in tiny.items()})
    sizes = {"model__hidden_size": size.hidden_size, "model__num_heads": size.num_heads}
    by_hand = base.with_values(block="in-context", **sizes)
    assert resolve_all([by_hand], CPU)[0].config.fingerprint == plan.config.fingerprint
    execute(plan)
    recorded = json.loads(plan.directory.environment.read_text())["match"]
    assert recorded == notes["in-context"]["match"]
    assert recorded["from_model"] == "64x1x4/2"
