"""What may be removed, and what an interrupted removal leaves."""

import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import ditbench

from ditbench.errors import DitbenchError
from ditbench.launch import removal
from ditbench.launch.removal import check_removable, remove
from ditbench.report.reading.results import find_runs
from ditbench.runs.directory.lock import locked

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "pilot" / "digits"


@pytest.fixture
def run(tmp_path):
    source = next(REFERENCE.glob("adaln/seed0-*"))
    return shutil.copytree(source, tmp_path / "out" / "digits" / "adaln" / source.name)


def rm(*arguments, answer=None):
    return ditbench("rm", *arguments, answer=answer)


def test_it_asks_first(run):
    for answer, code, says in (("n\n", 1, "nothing was removed"), ("", 2, "no answer")):
        result = rm(run, answer=answer)
        assert result.exit_code == code
        assert f"{run}: done, " in result.stderr
        assert says in result.stderr
        assert run.is_dir()
    assert rm(run, answer="y\n").exit_code == 0
    assert list(run.parent.iterdir()) == []


def test_several_are_removed_without_asking(run):
    other = shutil.copytree(run, run.with_name("seed1-copy"))
    (other / "result.json").unlink()  # an unfinished run
    result = rm(run, run, other, "--yes")
    assert result.exit_code == 0
    assert result.stderr.startswith("removed 2 runs, ")
    assert list(run.parent.iterdir()) == []


def not_a_run(run):
    (run / "env.json").unlink()


def damaged(run):
    (run / "config.toml").write_text("[train")


def of_another_program(run):
    (run / "config.toml").write_text("[server]\nport = 80\n")


def with_a_run_inside(run):
    shutil.copytree(run, run.parent / "inner")
    (run.parent / "inner").rename(run / "inner")


@pytest.mark.parametrize(
    ("change", "reason"),
    [(not_a_run, "is not a run directory"), (damaged, "is not a run directory"),
     (of_another_program, "is not a run directory"), (with_a_run_inside, "holds other runs")],
)  # fmt: skip
def test_what_is_not_certainly_a_run_stays(run, change, reason):
    good = shutil.copytree(run, run.with_name("good"))
    change(run)
    result = rm(good, run, "--yes")
    assert result.exit_code == 2
    assert reason in result.stderr
    assert run.is_dir()
    assert good.is_dir()  # nothing is removed where something is refused


def test_other_places_are_refused(run, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(run)
    for place in (link, run.parent, tmp_path, tmp_path / "nowhere", run / "config.toml"):
        assert rm(place, "--yes").exit_code == 2
    assert len(list(find_runs(tmp_path / "out"))) == 1


def test_reference_runs_are_refused(run, tmp_path):
    place = tmp_path / "results" / "reference" / "digits"
    shutil.copytree(run.parent, place / "adaln")
    with pytest.raises(DitbenchError, match="is a reference run"):
        check_removable(place / "adaln" / run.name)
    original = next(REFERENCE.glob("adaln/seed0-*"))
    assert rm(original, "--yes").exit_code == 2
    assert original.is_dir()


def git(where, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(
        ["git", "-C", str(where), *identity, *arguments], check=True, capture_output=True
    )


def test_a_run_that_git_tracks_is_refused(run, tmp_path, monkeypatch):
    git(tmp_path, "init")
    assert check_removable(run).path == run
    git(tmp_path, "add", str(run / "result.json"))  # in the index, and not committed
    with pytest.raises(DitbenchError, match="git tracks files in it"):
        check_removable(run)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(DitbenchError, match="git tracks files in it"):
        check_removable(run)
    git_free = tmp_path / "bin"
    git_free.mkdir()
    monkeypatch.setenv("PATH", str(git_free))
    with pytest.raises(DitbenchError, match="git does not say"):
        check_removable(run)


def test_a_run_that_is_being_written_is_refused(run):
    with locked(run / ".lock"):
        result = rm(run, "--yes")
        assert (result.exit_code, "being written" in result.stderr) == (1, True)
    assert run.is_dir()
    found = check_removable(run)
    with locked(run / ".lock"), pytest.raises(DitbenchError, match="is being written by process"):
        remove(found)  # begun since it was checked
    assert (run / "result.json").is_file()
    remove(found)
    assert not run.exists()


def test_an_interrupted_removal_leaves_no_part_of_a_run(run, monkeypatch):
    whole = shutil.copytree(run, run.parents[2] / "kept")
    original = shutil.rmtree

    def die(path):
        (Path(path) / "result.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(removal.shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        remove(check_removable(run))
    monkeypatch.setattr(removal.shutil, "rmtree", original)
    assert list(find_runs(run.parents[1])) == []
    assert len(list(run.parent.iterdir())) == 1
    shutil.copytree(whole, run)
    remove(check_removable(run))
    assert list(run.parent.iterdir()) == []
