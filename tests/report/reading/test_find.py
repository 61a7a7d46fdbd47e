"""Which run directories are found, and in which order."""

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
