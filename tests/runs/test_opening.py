"""Whether a run resumes: the file of its block is unchanged, edited or moved after it stopped."""

import shutil

import pytest
from recorder import recorded, stop_at

from ditbench.runs.opening import left_behind

PLAIN = "from ditbench.models.blocks.in_context import InContextBlock\n"
PLAIN += "class Mine(InContextBlock):\n    pass\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN)
    return path


def stop_half_way(plan):
    """Train until the first evaluation, and leave."""
    stop_at(plan, lambda event: event.kind == "evaluated")


def test_a_plan_takes_the_place_of_a_class(make_plan, path):
    plan = make_plan(block=f"{path}:Mine")
    assert plan.config.block == "Mine"
    assert plan.directory.path.parent.name == "Mine"
    assert plan.config.strategy.location == f"{path}:Mine"
    again = make_plan(block="adaln", strategy__location="/elsewhere.py:Mine")
    assert again.config.strategy.location is None
    assert again.config.fingerprint == make_plan(block="adaln").config.fingerprint


def test_only_an_edit_leaves_a_run_behind(make_plan, path, tmp_path):
    first = make_plan(block=f"{path}:Mine")
    stop_half_way(first)
    assert left_behind(make_plan(block=f"{path}:Mine")) is None
    moved = shutil.copy(path, tmp_path / "moved.py")
    assert make_plan(block=f"{moved}:Mine").config.fingerprint == first.config.fingerprint
    path.write_text(PLAIN + "# edited")
    edited = make_plan(block=f"{path}:Mine")
    assert edited.config.fingerprint != first.config.fingerprint
    assert left_behind(edited) == f"Mine has changed since {first.directory.path}"
    assert left_behind(make_plan(block=f"{path}:Mine", seed=1)) is None
    _, recorder = recorded(edited)
    warnings = [event.text for event in recorder.of("warned")]
    assert warnings == [f"Mine has changed since {first.directory.path}, which is not resumed: "
                    "this is a new run"]  # fmt: skip


def test_a_stopped_run_resumes_with_the_file_as_it_was(make_plan, path):
    plan = make_plan(block=f"{path}:Mine")
    stop_half_way(plan)
    _, recorder = recorded(make_plan(block=f"{path}:Mine"))
    assert recorder.events[0].step == 3  # one after the evaluation
    assert plan.directory.is_complete()
    assert plan.directory.strategy.read_text() == PLAIN
