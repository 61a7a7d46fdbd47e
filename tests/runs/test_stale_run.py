"""A strategy in a file under a run that stopped: the same, edited, moved."""

from __future__ import annotations

import shutil

import pytest

from ditbench.runs.run import Warned, execute
from ditbench.runs.stale_run import unfinished_before_an_edit
from ditbench.training.stop import Stopped, StopRequest

PLAIN = "from ditbench.models.blocks.in_context import InContextBlock\n"
PLAIN += "class Mine(InContextBlock):\n    pass\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN)
    return path


def stop_half_way(plan):
    """Train until the first evaluation, and leave."""
    stop = StopRequest()

    def on_event(event):
        if hasattr(event, "row"):
            stop.number = 2

    with pytest.raises(Stopped):
        execute(plan, on_event, stop)


def test_a_plan_takes_the_place_of_a_class(make_plan, path):
    plan = make_plan(block=f"{path}:Mine")
    assert (plan.config.block, plan.cost.block) == ("Mine", "Mine")
    assert plan.directory.path.parent.name == "Mine"
    assert plan.config.strategy.location == f"{path}:Mine"
    again = make_plan(block="adaln", strategy__location="/elsewhere.py:Mine")
    assert again.config.strategy.location is None
    assert again.config.fingerprint == make_plan(block="adaln").config.fingerprint


def test_only_an_edit_leaves_a_run_behind(make_plan, path, tmp_path):
    first = make_plan(block=f"{path}:Mine")
    stop_half_way(first)
    assert unfinished_before_an_edit(make_plan(block=f"{path}:Mine")) is None
    moved = shutil.copy(path, tmp_path / "moved.py")
    assert make_plan(block=f"{moved}:Mine").config.fingerprint == first.config.fingerprint
    path.write_text(PLAIN + "# edited")
    edited = make_plan(block=f"{path}:Mine")
    assert edited.config.fingerprint != first.config.fingerprint
    assert unfinished_before_an_edit(edited).path == first.directory.path
    assert unfinished_before_an_edit(make_plan(block=f"{path}:Mine", seed=1)) is None
    events = []
    execute(edited, events.append)
    told = [event.text for event in events if isinstance(event, Warned)]
    assert told == [f"Mine has changed since {first.directory.path}, which goes on no more: "
                    "this is another run"]  # fmt: skip


def test_a_run_that_was_stopped_goes_on_with_the_file_as_it_was(make_plan, path):
    plan = make_plan(block=f"{path}:Mine")
    stop_half_way(plan)
    events = []
    execute(make_plan(block=f"{path}:Mine"), events.append)
    assert events[0].step == 3  # one after the evaluation
    assert plan.directory.is_complete()
    assert plan.directory.strategy.read_text() == PLAIN
