"""The final model scored more than once: other steps, several draws, interruptions."""

import json
from statistics import fmean

import pytest
import torch
from clocks import cells, timeless
from recorder import recorded

from ditbench.errors import DitbenchError
from ditbench.report.reading.results import load_results
from ditbench.runs import run as run_module
from ditbench.runs.planning.plan import build_model
from ditbench.runs.run import execute
from ditbench.runs.scoring.labels import balanced_labels
from ditbench.runs.scoring.sampling import sample_images


def test_by_default_there_is_no_such_file(make_plan):
    plan = make_plan()
    result = execute(plan)
    assert not plan.directory.finals.exists()
    assert "final.csv" not in json.loads(plan.directory.result.read_text())["sha256"]
    frame = load_results(plan.directory.path)
    assert frame["final"].tolist() == [False, False, True]
    assert frame["curve"].all()
    assert (frame["draws"] == 1).all()
    assert (frame["curve_sampling_steps"] == frame["sampling_steps"]).all()
    assert frame["fid"].iloc[-1] == result["final"]["fid_40"]


def test_more_draws_change_nothing_else_and_their_mean_is_the_final_score(make_plan, tmp_path):
    once, thrice = make_plan(out=tmp_path / "once"), make_plan(eval__draws=3)
    execute(once)
    result = execute(thrice)
    assert thrice.config.fingerprint == once.config.fingerprint
    assert timeless(thrice.directory.evaluations) == timeless(once.directory.evaluations)
    draws = cells(thrice.directory.finals)
    assert [row.pop("draw") for row in draws] == ["0", "1", "2"]
    assert draws[0] == cells(thrice.directory.evaluations)[-1]
    fids = [float(row["fid_40"]) for row in draws]
    assert len(set(fids)) == 3
    assert result["final"]["fid_40"] == fmean(fids)
    assert result["final"]["kid_40"] == fmean(float(row["kid_40"]) for row in draws)
    final = load_results(thrice.directory.path).iloc[-1]
    assert final["fid"] == fmean(fids)
    assert final["label_accuracy"] == fmean(float(row["label_accuracy"]) for row in draws)
    assert (final["final"], final["curve"], final["draws"]) == (True, False, 3)
    seconds = [float(row["sampling_seconds"]) for row in draws[1:]]
    seconds += [float(row["sampling_seconds"]) for row in cells(thrice.directory.evaluations)]
    assert result["samples_per_second"] == pytest.approx(5 * 40 / sum(seconds))


def test_final_steps_score_the_same_noise_with_more_steps(make_plan, tmp_path):
    plan = make_plan(eval__final_sampling_steps=4)
    other = make_plan(out=tmp_path / "four", eval__sampling_steps=4)
    result = execute(plan)
    execute(other)
    (draw,) = timeless(plan.directory.finals)
    assert draw.pop("draw") == "0"
    assert draw == timeless(other.directory.evaluations)[-1]
    grids = [each.directory.samples(6).read_bytes() for each in (plan, other)]
    assert grids[0] == grids[1]
    assert result["final"]["sampling_steps"] == 4
    frame = load_results(plan.directory.path)
    assert frame["curve"].tolist() == [True, True, True, False]
    assert frame["final"].tolist() == [False, False, False, True]
    assert set(frame["sampling_steps"]) == {4}
    assert set(frame["curve_sampling_steps"]) == {2}
    assert "eval.final_sampling_steps" not in frame["recipe"].iloc[0]


def test_final_steps_are_part_of_the_fingerprint_unless_they_are_those_of_the_curve(make_plan):
    default = make_plan().config
    assert make_plan(eval__final_sampling_steps=2).config == default
    more = make_plan(eval__final_sampling_steps=4).config
    assert more.fingerprint != default.fingerprint
    assert "final_sampling_steps" not in default.to_toml()
    assert "draws" not in default.to_toml()


def test_final_steps_are_checked_before_training(make_plan):
    with pytest.raises(DitbenchError, match="sampling_steps = 2000 is out of range for ddpm"):
        make_plan(objective__name="ddpm", eval__final_sampling_steps=2000)


def test_draws_have_noise_of_their_own(make_plan):
    """Also that of the ancestral sampler, whose samples are otherwise the same at the start."""
    plan = make_plan(objective__name="ddpm")
    model, labels = build_model(plan), balanced_labels(40, 10)
    first, again = sample_images(model, plan, labels), sample_images(model, plan, labels, draw=0)
    assert torch.equal(first, again)
    others = [sample_images(model, plan, labels, draw=draw) for draw in (1, 2)]
    assert not torch.equal(first, others[0])
    assert not torch.equal(*others)


@pytest.mark.parametrize(
    "settings",
    [
        {"eval__draws": 3},
        {"eval__final_sampling_steps": 4},
        {"eval__draws": 3, "eval__final_sampling_steps": 4},
    ],
)
def test_an_interrupted_final_score_keeps_the_draws_that_it_made(
    make_plan, tmp_path, monkeypatch, settings
):
    whole = make_plan(out=tmp_path / "whole", **settings)
    execute(whole)
    plan = make_plan(**settings)
    original, calls = run_module.evaluate, []

    def spy(*arguments):
        calls.append(arguments[-1])
        return original(*arguments)

    def interrupted(*arguments):
        if len(calls) == 3 + (settings.get("eval__draws", 1) > 1):  # after the curve and a draw
            raise KeyboardInterrupt
        return spy(*arguments)

    monkeypatch.setattr(run_module, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(plan)
    kept = len(plan.directory.read_finals())
    monkeypatch.setattr(run_module, "evaluate", spy)
    calls.clear()
    _, recorder = recorded(plan)
    assert calls == list(range(kept, settings.get("eval__draws", 1)))
    assert not recorder.of("logged")
    for name in ("evaluations", "finals"):
        assert timeless(getattr(plan.directory, name)) == timeless(getattr(whole.directory, name))


def test_final_scores_of_weights_that_are_trained_again_are_dropped(make_plan, monkeypatch):
    plan = make_plan(eval__draws=3)
    monkeypatch.setattr(run_module, "result_of", None)
    with pytest.raises(TypeError):
        execute(plan)
    monkeypatch.undo()
    assert len(timeless(plan.directory.finals)) == 3
    plan.directory.checkpoint.unlink()  # the one before it counts an evaluation less
    before = plan.directory.finals.read_text()
    plan.directory.finals.write_text(before.replace("digits", "stale"))
    execute(plan)
    assert "stale" not in plan.directory.finals.read_text()
    assert len(load_results(plan.directory.path)) == 4
