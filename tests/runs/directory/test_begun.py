"""A run that was interrupted ends with the metrics that it began with."""

import json
from dataclasses import replace

import pytest
from recorder import at_row, leave_at, recorded

from ditbench.errors import EXIT_USAGE, DitbenchError
from ditbench.metrics import create_extractor
from ditbench.metrics.features import efficientnet
from ditbench.rundir import RunDirectory
from ditbench.runs import run as module
from ditbench.runs.directory.begun import begun_metrics, changed
from ditbench.runs.run import execute
from ditbench.runs.scoring import evaluate


@pytest.fixture(autouse=True)
def fast_features(monkeypatch):
    """Other features without a large network: those of digits, as if they were Inception's."""

    def create(name, dataset, weights=None, device="cpu"):
        extractor = create_extractor("digits", dataset)
        if name == "inception":
            kind = type("Renamed", (type(extractor),), {"name": name, "num_classes": None})
            extractor.__class__ = kind
        return extractor

    monkeypatch.setattr(evaluate, "create_extractor", create)


def interrupt(plan, step=3):
    """Leave it: at step 3, after the first of three evaluations."""
    leave_at(plan, at_row(step))


def header(plan):
    return plan.directory.evaluations.read_text().splitlines()[0].split(",")


def resume(plan):
    result, recorder = recorded(plan)
    return result, [event.text for event in recorder.of("warned")]


def test_env_json_names_metrics_and_versions(make_plan):
    plan = make_plan(metrics__also=["inception"], metrics__extra=["inception_score"])
    result = execute(plan)
    record = json.loads(plan.directory.environment.read_text())["metrics"]
    assert record["fid"] == 1
    assert {"kid", "precision", "inception_score", "fid_inception"} <= record.keys()
    assert [each["name"] for each in result["metrics"]] == list(record)
    columns = [column.removesuffix("_40") for column in header(plan)]
    assert [name for name in columns if name in record] == list(record)
    (also,) = result["scoring"]["also"]
    assert also["features"] == "inception"


def test_metrics_do_not_change_what_is_trained_or_its_fingerprint(make_plan):
    plain, more = make_plan(), make_plan(metrics__also="inception", metrics__extra="memorization")
    assert plain.directory.path == more.directory.path


@pytest.mark.parametrize("began", [[], ["inception"]])
def test_a_run_keeps_the_metrics_that_it_began_with(make_plan, began):
    now = [] if began else ["inception"]
    interrupt(make_plan(metrics__also=began))
    before = header(make_plan())
    result, (warning,) = resume(make_plan(metrics__also=now))
    assert header(make_plan()) == before
    assert any("inception" in each["name"] for each in result["metrics"]) == bool(began)
    assert f"resumes with the metrics it began with: {'with' if began else 'without'} " in warning
    assert "fid_inception" in warning


def test_the_same_metrics_need_no_warning(make_plan):
    options = {"metrics__also": ["inception"], "metrics__extra": ["inception_score"]}
    interrupt(make_plan(**options))
    assert resume(make_plan(**options))[1] == []


def test_a_run_of_before_there_was_a_record_keeps_its_three_metrics(make_plan, monkeypatch):
    old = {"fid": 1, "kid": 1, "label_accuracy": 1}
    with monkeypatch.context() as patch:
        patch.setattr(module, "begun_metrics", lambda directory: old)
        interrupt(make_plan())
    environment = make_plan().directory.environment
    facts = json.loads(environment.read_text())
    del facts["metrics"]  # as an earlier version would have left it
    environment.write_text(json.dumps(facts))
    assert begun_metrics(make_plan().directory) == old
    result, (warning,) = resume(make_plan())
    assert {each["name"]: each["version"] for each in result["metrics"]} == old
    assert "kid of version 1" in warning
    assert "precision_40" not in header(make_plan())
    assert json.loads(environment.read_text())["metrics"] == old


def test_without_an_evaluation_the_metrics_are_free_to_choose(make_plan):
    interrupt(make_plan(), step=1)
    assert begun_metrics(make_plan().directory) is None


def test_held_out_images_give_metrics_of_their_own_and_are_kept(make_plan):
    plan = make_plan()
    half = replace(plan.dataset, images=plan.dataset.images[::2], labels=plan.dataset.labels[::2])
    with_half = replace(plan, dataset=replace(plan.dataset, load_held_out=lambda: half))
    interrupt(with_half)
    assert {"fid_held_out_40", "kid_held_out_40"} <= set(header(plan))
    with pytest.raises(DitbenchError, match="not available now: fid_held_out, kid_held_out"):
        execute(plan)
    result, warnings = resume(with_half)
    assert warnings == []
    assert result["scoring"]["held_out_images"] == len(half)


@pytest.mark.parametrize("record", [[], {"fid": "1"}, {"fid": True}, 1])
def test_a_damaged_record_is_named(make_plan, record):
    interrupt(make_plan())
    path = make_plan().directory.environment
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": record}))
    with pytest.raises(DitbenchError, match="metrics is not a table of versions"):
        execute(make_plan())


def test_a_damaged_env_json_is_written_again(make_plan):
    interrupt(make_plan())
    path = make_plan().directory.environment
    whole = json.loads(path.read_text())["metrics"]
    path.write_text("{")
    execute(make_plan())
    assert json.loads(path.read_text())["metrics"] == whole


def test_missing_weights_end_it_before_anything_is_written(make_plan, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "create_extractor", create_extractor)
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    monkeypatch.setattr(efficientnet.sysconfig, "get_path", lambda name: "/nowhere")
    plan = make_plan(metrics__also=["efficientnet-lite0"])
    with pytest.raises(DitbenchError, match="efficientnet-lite0 features need") as caught:
        execute(plan)
    assert caught.value.exit_code == EXIT_USAGE
    assert not plan.directory.path.exists()


@pytest.mark.parametrize(
    ("key", "message"),
    [("metrics__also", "unknown features 'inceptoin'"), ("metrics__extra", "unknown metric")],
)
def test_unknown_names_end_it_when_it_is_planned(make_plan, key, message):
    with pytest.raises(DitbenchError, match=message):
        make_plan(**{key: ["inceptoin"]})


def test_differences_are_said_in_words():
    begun, asked = {"fid": 1, "kid": 1, "a": 1}, {"fid": 1, "kid": 2, "b": 1}
    assert changed(begun, asked) == "without b; with a, kid of version 1"
    assert changed(begun, begun) == ""


def test_a_directory_without_a_checkpoint_begins_anew(tmp_path):
    assert begun_metrics(RunDirectory(tmp_path)) is None
