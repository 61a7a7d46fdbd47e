"""Complete runs scored again: the same numbers for the same settings, and nothing else changes."""

import hashlib
import json
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from ditbench.data.digits import load_digits
from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory
from ditbench.runs.planning.rescoring import plan_rescoring
from ditbench.runs.run import execute
from ditbench.runs.scoring import rescore as module
from ditbench.runs.scoring.evaluate import Evaluation
from ditbench.runs.scoring.rescore import rescore
from ditbench.training.stop import Stopped, StopRequest

CPU = torch.device("cpu")
CLOCKS = {"seconds", "sampling_seconds", "eval_seconds", "device", "draw"}


def planned(directory, *settings, draws=1, **options):
    jobs, skipped = plan_rescoring([directory], settings or ({},), draws, CPU, **options)
    assert not skipped
    return jobs


def score(jobs, reporter=None, stop=None):
    stop = StopRequest() if stop is None else stop  # one without a signal is false
    outcomes = [outcome for _, outcome in rescore(jobs, reporter or Mock(), stop)]
    for outcome in outcomes:
        if isinstance(outcome, DitbenchError):
            raise outcome
    return outcomes


def numbers(row):
    return {key: value for key, value in row.items() if key not in CLOCKS}


def files(directory):
    """Every file of a run outside of evals/, with its contents."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.path.rglob("*")
        if path.is_file() and path.parent.name != "evals"
    }


@pytest.fixture
def run(make_plan, made, tmp_path):
    """A complete run whose sampler adds noise, with two draws of its final score: a copy."""
    settings = {"eval__draws": 2, "metrics__extra": ("memorization",)}
    plan = make_plan(out=made, objective__name="ddpm", **settings)
    execute(plan)
    path = shutil.copytree(plan.directory.path, tmp_path / "run")
    return replace(plan, directory=RunDirectory(path))


def test_the_settings_of_the_run_give_its_own_scores_and_change_no_file(run):
    before = files(run.directory)
    (content,) = score(planned(run.directory, draws=2))
    assert [row["draw"] for row in content["draws"]] == [0, 1]
    finals = run.directory.read_finals()
    assert [numbers(row) for row in content["draws"]] == [numbers(row) for row in finals]
    assert content["metrics"] == run.directory.read_result()["metrics"]
    assert run.directory.evals() == ["cfg1-ddpm2-40-digits"]
    assert run.directory.read_eval("cfg1-ddpm2-40-digits")["draws"] == content["draws"]
    assert files(run.directory) == before
    run.directory.check_recorded(run.directory.read_result())


def test_each_setting_has_a_file_and_its_own_scores(run):
    settings = [
        {"eval__cfg_scale": scale, "eval__sampler": "ddim", "eval__sampling_steps": 3,
         "eval__samples": 60}
        for scale in (1.0, 1.5, 20.0)
    ]  # fmt: skip
    contents = score(planned(run.directory, *settings))
    names = [f"cfg{scale}-ddim3-60-digits" for scale in ("1", "1.5", "20")]
    assert run.directory.evals() == sorted(names)
    assert len({content["draws"][0]["fid_60"] for content in contents}) == 3
    assert {content["draws"][0]["sampling_steps"] for content in contents} == {3}


def test_the_same_command_again_computes_nothing_and_more_draws_add_to_those_made(run, monkeypatch):
    (first,) = score(planned(run.directory))
    with monkeypatch.context() as patch:
        patch.setattr(module, "create_scorer", None)
        (again,) = score(planned(run.directory))
    assert again["draws"] == first["draws"]
    (more,) = score(planned(run.directory, draws=2))
    assert more["draws"][0] == first["draws"][0]
    assert numbers(more["draws"][1]) == numbers(run.directory.read_finals()[1])


def test_a_stop_keeps_the_draws_made_and_the_rest_is_the_same_as_without(run, tmp_path):
    settings = {"eval__cfg_scale": 2.0}
    (whole,) = score(planned(run.directory, settings, draws=3))
    path = run.directory.eval("cfg2-ddpm2-40-digits")
    path.unlink()
    stop = StopRequest()

    def ask(job, row):
        stop.number = signal.SIGINT

    with pytest.raises(Stopped):
        score(planned(run.directory, settings, draws=3), Mock(scored=ask), stop)
    assert [row["draw"] for row in json.loads(path.read_text())["draws"]] == [0]
    (resumed,) = score(planned(run.directory, settings, draws=3))
    assert list(map(numbers, resumed["draws"])) == list(map(numbers, whole["draws"]))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_one_model_is_built_per_run_and_one_scorer_per_features(make_plan, monkeypatch):
    plans = [make_plan(seed=seed) for seed in (0, 1)]
    for plan in plans:
        execute(plan)
    spies = {
        name: Mock(wraps=getattr(module, name)) for name in ("averaged_model", "create_scorer")
    }
    for name, spy in spies.items():
        monkeypatch.setattr(module, name, spy)
    settings = [{"eval__cfg_scale": scale} for scale in (1.0, 2.0)]
    jobs, _ = plan_rescoring([plan.directory for plan in plans], settings, 1, CPU)
    assert len(score(jobs)) == 4
    assert [spy.call_count for spy in spies.values()] == [2, 1]


def test_an_error_of_one_setting_leaves_the_others(run, monkeypatch):
    original = module.evaluate

    def evaluate(plan, *arguments):
        if plan.config.eval.cfg_scale == 2:
            raise DitbenchError("the samples contain NaN")
        return original(plan, *arguments)

    monkeypatch.setattr(module, "evaluate", evaluate)
    jobs = planned(run.directory, {"eval__cfg_scale": 2.0}, {"eval__cfg_scale": 3.0})
    failed, scored = (outcome for _, outcome in rescore(jobs, Mock(), StopRequest()))
    assert (failed.message, failed.exit_code) == ("the samples contain NaN", 1)
    assert len(scored["draws"]) == 1
    assert run.directory.evals() == ["cfg3-ddpm2-40-digits"]


def test_missing_weights_are_found_before_any_draw(run, monkeypatch):
    failure = Mock(side_effect=DitbenchError("the weights are missing"))
    monkeypatch.setattr(module, "create_scorer", failure)
    monkeypatch.setattr(module, "evaluate", None)
    jobs = planned(run.directory, {}, {"eval__cfg_scale": 2.0})
    with pytest.raises(DitbenchError, match="the weights are missing"):
        list(rescore(jobs, Mock(), StopRequest()))


def test_a_run_that_is_trained_again_loses_them(run):
    score(planned(run.directory))
    run.directory.start("", {}, {})
    assert not run.directory.evals()


def test_incomplete_runs_and_runs_without_a_checkpoint_are_skipped(run, make_plan):
    unfinished = make_plan(seed=1).directory
    unfinished.start("", {}, {})
    bare = make_plan(seed=2)
    execute(bare)
    bare.directory.checkpoint.unlink()
    directories = [unfinished, run.directory, bare.directory]
    jobs, skipped = plan_rescoring(directories, [{}], 1, CPU)
    assert [job.plan.directory.path for job in jobs] == [run.directory.path]
    assert [path for path, _ in skipped] == [unfinished.path, bare.directory.path]
    assert "incomplete" in skipped[0][1].message
    assert "no checkpoint" in skipped[1][1].message


def test_the_images_may_have_moved_but_must_be_the_same(make_plan, tmp_path):
    digits = load_digits()
    arrays = {"images": digits.images[:200, 0].numpy(), "labels": digits.labels[:200].numpy()}
    first, moved, others = (tmp_path / f"{name}.npz" for name in ("first", "moved", "others"))
    np.savez(first, **arrays)
    np.savez(others, **arrays | {"images": 255 - arrays["images"]})
    plan = make_plan(data__name="npz", data__path=str(first))
    execute(plan)
    first.rename(moved)
    _, [(_, error)] = plan_rescoring([plan.directory], [{}], 1, CPU)
    assert "first.npz" in error.message
    _, [(_, error)] = plan_rescoring([plan.directory], [{}], 1, CPU, data=others)
    assert "not those that it was trained on" in error.message
    assert "--data" in error.hint
    (content,) = score(planned(plan.directory, data=moved))
    final = plan.directory.read_evaluations()[-1]
    assert numbers(content["draws"][0]) == numbers(final)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"eval__sampler": "euler"}, "euler"),
        ({"eval__sampling_steps": 5000}, "5000"),
        ({"metrics__features": "nope"}, "unknown features"),
        ({"metrics__features": "cifar10"}, "cifar10"),
        ({"eval__samples": 1}, "eval.samples"),
    ],
)
def test_settings_that_do_not_fit_are_found_before_anything_is_scored(run, settings, reason):
    jobs, [(path, error)] = plan_rescoring([run.directory], [settings], 1, CPU)
    assert not jobs
    assert path == run.directory.path
    assert reason in error.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fingerprint": "0" * 64}, "another fingerprint"),
        ({"features_digest": "other"}, "another features digest"),
        ({"batch_size": 7}, "another batch size"),
        ({"metrics": []}, "other metrics"),
        ({"metrics": None}, "damaged"),
        ({"schema": 99}, "schema 99"),
        ({"draws": 3}, "draws is not a list"),
    ],
)
def test_draws_are_not_added_to_those_of_something_else(run, change, reason):
    (content,) = score(planned(run.directory))
    path = run.directory.eval("cfg1-ddpm2-40-digits")
    path.write_text(json.dumps({"schema": 1, **content} | change))
    before = path.read_bytes()
    with pytest.raises(DitbenchError, match=reason):
        score(planned(run.directory, draws=2))
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_step_is_refused(run, make_plan):
    # The same model after fewer steps.
    result = json.loads(run.directory.result.read_text())
    run.directory.result.write_text(json.dumps(result | {"steps": 7}))
    with pytest.raises(DitbenchError, match="of step 6, but the run ended at step 7"):
        score(planned(run.directory))
    assert not run.directory.evals()


def test_another_process_that_writes_the_same_file_is_noticed(run):
    from ditbench.runs.directory.lock import locked

    with (
        locked(run.directory.path / "evals" / ".cfg1-ddpm2-40-digits.lock"),
        pytest.raises(DitbenchError, match="is being written by process"),
    ):
        score(planned(run.directory))
    score(planned(run.directory))


def test_further_features_are_scored_unless_features_are_named(make_plan, monkeypatch):
    """A run's `metrics.also` belong to its own evaluation."""
    plan = make_plan(metrics__also=("efficientnet-lite0",))
    configs = []

    def evaluation(run, scorer, model, stop, draw):
        configs.append(run.config)
        images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
        values = {metric.name: 1.0 for metric in scorer.metrics}
        return Evaluation(values, images, torch.zeros(40, dtype=torch.long), 1.0, 1.0)

    facts = {"metrics": [], "versions": {}, "extractors": [SimpleNamespace(digest="x")]}
    scorer = SimpleNamespace(**facts, describe=lambda n: {})
    execute(make_plan())
    monkeypatch.setattr(module, "evaluate", evaluation)
    monkeypatch.setattr(module, "create_scorer", lambda *_: scorer)
    directory = make_plan().directory
    text = directory.config.read_text()
    also = "[metrics]\nalso = ['efficientnet-lite0']"
    directory.config.write_text(text.replace("[metrics]", also))
    assert plan.directory.path == directory.path  # it does not change the fingerprint
    score(planned(directory, {}, {"metrics__features": "digits", "eval__cfg_scale": 2.0}))
    assert [config.metrics.also for config in configs] == [("efficientnet-lite0",), ()]
