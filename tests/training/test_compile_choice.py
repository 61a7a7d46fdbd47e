"""Which runs are compiled: as asked, as begun, or where that pays; and how they go on."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from ditbench.training.compile_choice import Compiling, as_asked, pays

from ditbench.config import load
from ditbench.errors import DitbenchError
from ditbench.models.cost import count
from ditbench.models.registry import block_names
from ditbench.training import compile_choice, compiled
from ditbench.training.budget import create_budget
from ditbench.training.parts import create_configured_objective, model_arguments
from ditbench.training.run import Started, Warned, execute
from ditbench.training.signals import Stopped, StopRequest

CPU = torch.device("cpu")
NO_COMPILER = "InvalidCxxCompiler: no g++"

pytestmark = pytest.mark.usefixtures("without_cpp")


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(compile_choice, "obstacle_to_compiling", lambda _device: NO_COMPILER)


@pytest.fixture
def never_tried(monkeypatch):
    monkeypatch.setattr(compile_choice, "obstacle_to_compiling", None)


def ignore(_event):
    pass


def wants(device="cpu", **values):
    overrides = {key.replace("__", "."): value for key, value in values.items()}
    config = load("digits", overrides=overrides)
    dataset = SimpleNamespace(height=8, width=8, channels=1, num_classes=10)
    cost = count(**model_arguments(config, dataset, create_configured_objective(config)))
    return pays(config, dataset, create_budget(config, cost), torch.device(device))


@pytest.mark.parametrize("block", block_names())
def test_auto_compiles_what_outlasts_compiling(block):
    assert not wants(block=block)  # the reference runs
    assert not wants(block=block, budget__steps=4000)
    assert wants(block=block, budget__steps=6000)
    assert not wants(block=block, budget__steps=6000, model__depth=12, train__batch_size=32)
    assert wants(block=block, budget__steps=4000, model__registers=16)  # twice the tokens


@pytest.mark.parametrize("budget", [{"budget__flops": 13.44e12}, {"budget__steps": 5563}])
def test_at_the_limit_all_blocks_are_compiled_or_none(budget):
    """Their speeds are compared."""
    (key, amount), found = *budget.items(), []
    for share in (0.99, 1.01):
        given = {key: type(amount)(share * amount)}
        found.append({wants(block=block, **given) for block in block_names()})
    assert found == [{False}, {True}]


def test_auto_takes_a_budget_of_time_as_it_is():
    assert not wants(budget__seconds=3 * 60.0)
    assert wants(budget__seconds=4 * 60.0)
    assert not wants(budget__seconds=4 * 60.0, model__depth=8)


def test_auto_never_compiles_for_a_gpu():
    assert not wants("cuda", budget__steps=10**6)


def test_auto_does_without_a_compiler_and_env_json_says_so(make_plan, no_compiler):
    plan = make_plan("auto", budget__seconds=600.0)
    assert plan.compiling == Compiling(on=False, obstacle=NO_COMPILER)
    execute(replace(make_plan(), compiling=plan.compiling), ignore)
    facts = json.loads(make_plan().directory.environment.read_text())
    assert (facts["compiled"], facts["cannot_compile"]) == (False, NO_COMPILER)


@pytest.mark.parametrize("values", [{}, {"budget__seconds": 600.0}])
def test_on_needs_a_compiler_before_anything_is_trained(make_plan, tmp_path, no_compiler, values):
    with pytest.raises(DitbenchError, match="torch cannot compile on this machine") as raised:
        make_plan("on", **values)
    assert NO_COMPILER in raised.value.message
    assert "--compile off" in raised.value.hint
    assert raised.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_is_looked_for_only_where_one_is_wanted(make_plan, never_tried):
    assert not make_plan("off", budget__seconds=600.0).compiling.on
    assert not make_plan("auto").compiling.on
    execute(make_plan(), ignore)
    assert not make_plan("on").compiling.on  # complete
    assert as_asked("auto", CPU) == as_asked("off", CPU) == Compiling()
    with pytest.raises(DitbenchError, match="unknown choice for --compile 'yes'"):
        make_plan("yes")


# Going on


def interrupt(plan):
    """Stop a run after its fourth step."""
    stop = StopRequest()

    def on_event(event):
        if getattr(event, "step", 0) == 4 and not isinstance(event, Started):
            stop.number = 2

    with pytest.raises(Stopped):
        execute(plan, on_event, stop)


def files(plan):
    """What a run leaves but its clocks."""
    lines = [line.split(",") for line in plan.directory.train.read_text().splitlines()]
    rows = [[*line[:2], *line[3:]] for line in lines]
    pictures = [path.read_bytes() for path in sorted(plan.directory.path.glob("samples/*.png"))]
    return rows, pictures


def assert_resumed_is_uninterrupted(make_plan, tmp_path):
    whole, broken = (make_plan("on", out=tmp_path / name) for name in ("whole", "broken"))
    assert broken.compiling.on
    execute(whole, ignore)
    interrupt(broken)
    torch._dynamo.reset()  # as in a process of its own
    again = make_plan("auto", out=tmp_path / "broken")
    assert again.compiling.on
    events = []
    execute(again, events.append)
    assert not any(isinstance(event, Warned) for event in events)
    assert files(again) == files(whole)
    facts = json.loads(again.directory.environment.read_text())
    assert facts["compiled"] is True
    assert "compiling_changed_at_step" not in facts


def test_a_compiled_run_goes_on_compiled_and_ends_as_the_uninterrupted_one(make_plan, tmp_path):
    assert_resumed_is_uninterrupted(make_plan, tmp_path)


@pytest.mark.slow
def test_so_it_does_in_c_plus_plus(make_plan, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    assert_resumed_is_uninterrupted(make_plan, tmp_path)


def test_whoever_says_otherwise_is_obeyed_and_warned(make_plan):
    interrupt(make_plan("on"))
    events = []
    execute(make_plan("off"), events.append)
    assert [event.text for event in events if isinstance(event, Warned)] == [
        f"{make_plan().directory.path} goes on not compiled, otherwise than it was begun"
    ]
    facts = json.loads(make_plan().directory.environment.read_text())
    assert (facts["compiled"], facts["compiling_changed_at_step"]) == (False, 4)
    assert facts["device"] == "cpu"


def test_a_run_of_an_earlier_version_goes_on_as_it_was(make_plan, never_tried, monkeypatch):
    interrupt(make_plan())
    monkeypatch.setattr(compile_choice, "pays", lambda *_: True)
    environment = make_plan().directory.environment
    facts = json.loads(environment.read_text())
    del facts["compiled"], facts["cannot_compile"]
    environment.write_text(json.dumps(facts))
    assert not make_plan("auto").compiling.on


def test_another_device_decides_for_itself(make_plan):
    interrupt(make_plan("on"))
    environment = make_plan().directory.environment
    facts = json.loads(environment.read_text())
    environment.write_text(json.dumps(facts | {"device": "NVIDIA H200"}))
    assert not make_plan("auto").compiling.on


def test_a_damaged_env_json_keeps_no_run_from_going_on(make_plan):
    interrupt(make_plan("on"))
    make_plan().directory.environment.write_text("{")
    assert not make_plan("auto").compiling.on
    assert execute(make_plan("auto"), ignore)["steps"] == 6
