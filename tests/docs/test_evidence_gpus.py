"""docs/evidence/gpus.py: every GPU has all planned seeds, and begins with others."""

import runpy
from pathlib import Path

import pytest

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"
ROTATED = runpy.run_path(str(EVIDENCE / "gpus.py"))["rotated"]
READ = runpy.run_path(str(EVIDENCE / "run.py"))["read_list"]


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_every_gpu_has_all_planned_seeds_and_begins_with_others(tmp_path, gpus):
    path = EVIDENCE / "list.toml"
    whole = READ(path)
    first = set()
    for number in range(gpus):
        own = tmp_path / f"{number}.toml"
        own.write_text(ROTATED(path.read_text("utf-8"), number, gpus), "utf-8")
        stages = READ(own)
        assert [sorted(stage.seeds) for stage in stages] == [sorted(s.seeds) for s in whole]
        first.add(stages[0].seeds[0])
    assert len(first) == gpus
