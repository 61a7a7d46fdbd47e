"""Which run directories are found, and in which order."""

from pathlib import Path

from ditbench.files import write_text
from ditbench.report.reading.results import find_runs


def test_runs_are_found_at_any_depth_in_order(tmp_path):
    for name in ("b/x/seed0-1", "a/x/seed1-1", "a/x/seed0-1", "a"):
        write_text(tmp_path / "runs" / name / "config.toml", "")
    found = [run.path.relative_to(tmp_path / "runs") for run in find_runs(tmp_path / "runs")]
    assert list(map(str, found)) == ["a", "a/x/seed0-1", "a/x/seed1-1", "b/x/seed0-1"]
    (alone,) = find_runs(tmp_path / "runs/a")
    assert alone.path == tmp_path / "runs/a"
    assert list(find_runs(tmp_path / "none")) == []


def test_reference_runs_count_while_there_are_no_others(tmp_path):
    reference = tmp_path / "reference/digits/adaln/seed0-1"
    write_text(reference / "config.toml", "")
    assert [run.path for run in find_runs(tmp_path)] == [reference]
    own = tmp_path / "digits/adaln/seed0-2"
    write_text(own / "config.toml", "")
    assert [run.path for run in find_runs(tmp_path)] == [own]
    assert [run.path for run in find_runs(tmp_path / "reference")] == [reference]


def test_pilot_runs_count_while_there_are_no_other_reference_runs(tmp_path, monkeypatch):
    pilot = tmp_path / "results/reference/pilot/cifar10/adaln/seed0-1"
    write_text(pilot / "config.toml", "")
    places = [tmp_path / "results", *pilot.parents[:4]]
    assert all([run.path for run in find_runs(place)] == [pilot] for place in places)
    later = tmp_path / "results/reference/cifar10/adaln/seed10-1"
    write_text(later / "config.toml", "")
    for place, expected in zip(places, [later, pilot, pilot, pilot, later], strict=True):
        assert [run.path for run in find_runs(place)] == [expected]
    monkeypatch.chdir(tmp_path / "results/reference")
    assert [run.path.parts[0] for run in find_runs(Path())] == ["cifar10"]
    assert len(list(find_runs(Path("pilot")))) == 1


def test_runs_of_ones_own_may_be_called_pilot(tmp_path):
    for name in ("pilot/adaln/seed0-1", "digits/adaln/seed0-1"):
        write_text(tmp_path / name / "config.toml", "")
    assert len(list(find_runs(tmp_path))) == 2
