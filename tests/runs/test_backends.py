"""The backend of a run: chosen once, kept when a run is resumed, recorded in env.json."""

import json

import pytest
from recorder import recorded, stop_at

from ditbench.errors import DitbenchError
from ditbench.runs import run as run_module
from ditbench.runs.run import execute
from ditbench.training.device import backend
from ditbench.training.device.backend import Backend


def let_compile(patch):
    """Compiling works, and does nothing."""
    patch.setattr(backend, "_unavailable_reason", lambda *_: None)
    patch.setattr(Backend, "prepare", lambda *_: None)


def remove_compiler(patch):
    patch.setattr(
        backend, "_unavailable_reason", lambda name, *_: None if name == "plain" else "no g++"
    )


@pytest.fixture
def compiles(monkeypatch):
    let_compile(monkeypatch)


@pytest.fixture
def no_compiler(monkeypatch):
    remove_compiler(monkeypatch)


def interrupt(plan):
    """Stop a run after its fourth step."""
    stop_at(plan, lambda event: event.kind == "logged" and event.step == 4)


def facts_of(plan):
    return json.loads(plan.directory.environment.read_text())


def resume(plan):
    """Execute to the end; returns the warnings."""
    result, recorder = recorded(plan)
    assert result["steps"] == 6
    return [event.text for event in recorder.of("warned")]


@pytest.mark.usefixtures("no_compiler")
def test_a_backend_that_does_not_work_is_refused_before_anything_is_written(make_plan, tmp_path):
    with pytest.raises(DitbenchError, match="no g\\+\\+") as raised:
        make_plan(train__backend="compile")
    assert raised.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_complete_run_needs_no_backend(make_plan, monkeypatch):
    execute(make_plan())
    monkeypatch.setattr(backend, "_unavailable_reason", None)
    assert make_plan(train__backend="compile").backend.name == "plain"


@pytest.mark.usefixtures("compiles")
def test_the_backend_is_not_part_of_the_fingerprint_and_is_in_env_json(make_plan):
    plan = make_plan(train__backend="compile")
    assert plan.config.fingerprint == make_plan().config.fingerprint
    assert 'backend = "compile"' in plan.config.to_toml()
    execute(plan)
    facts = facts_of(plan)
    assert (facts["backend"], facts["backend_fallback"]) == ("compile", None)


@pytest.mark.usefixtures("compiles")
def test_a_resumed_run_keeps_its_backend(make_plan):
    interrupt(make_plan(train__backend="compile"))
    again = make_plan()
    assert (again.begun, again.backend.name) == ("compile", "compile")
    assert resume(again) == []
    assert "backend_changed_at_step" not in facts_of(again)


@pytest.mark.usefixtures("compiles")
def test_an_explicit_backend_wins_with_a_warning(make_plan):
    interrupt(make_plan(train__backend="compile"))
    plan = make_plan(train__backend="plain")
    assert resume(plan) == [
        f"{plan.directory.path} resumes with the backend plain; it was begun with compile"
    ]
    facts = facts_of(plan)
    assert (facts["backend"], facts["backend_changed_at_step"]) == ("plain", 4)
    assert facts["device"] == "cpu"


def test_where_the_backend_does_not_work_any_more_the_run_says_so(make_plan, monkeypatch):
    with monkeypatch.context() as patch:
        let_compile(patch)
        interrupt(make_plan(train__backend="compile"))
    remove_compiler(monkeypatch)
    plan = make_plan()
    (warning,) = resume(plan)
    assert "resumes with the backend plain (compile: no g++); it was begun with compile" in warning
    assert facts_of(plan)["backend_fallback"] == "compile: no g++"


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize(
    ("compiled", "begun"), [(True, "compile"), (False, "plain"), (None, "plain")]
)
def test_env_json_of_earlier_versions_is_read(make_plan, compiled, begun):
    interrupt(make_plan())
    environment = make_plan().directory.environment
    facts = json.loads(environment.read_text())
    del facts["backend"]
    if compiled is not None:
        facts["compiled"] = compiled
    environment.write_text(json.dumps(facts))
    assert make_plan().begun == begun


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("damage", ["device", "json"])
def test_another_device_or_a_damaged_env_json_decides_anew(make_plan, damage):
    interrupt(make_plan(train__backend="compile"))
    environment = make_plan().directory.environment
    facts = json.loads(environment.read_text()) | {"device": "NVIDIA H200"}
    environment.write_text("{" if damage == "json" else json.dumps(facts))
    plan = make_plan()
    assert (plan.begun, plan.backend.name) == (None, "plain")


@pytest.mark.usefixtures("compiles")
def test_what_compiles_is_rehearsed_and_changes_no_number(make_plan, monkeypatch):
    trainers = []
    original = run_module.build_trainer

    def build(plan):
        trainers.append(original(plan))
        return trainers[-1]

    monkeypatch.setattr(run_module, "build_trainer", build)
    plain = execute(make_plan())
    assert len(trainers) == 1
    compiled = execute(make_plan(train__backend="compile", out=make_plan().directory.path / "x"))
    assert [trainer.step for trainer in trainers] == [6, 1, 6]
    assert compiled["final"]["fid_40"] == plain["final"]["fid_40"]
