"""Removing runs. What is not certainly a run of the user's own, at rest, is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

from ditbench.config import read_toml, validate
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import TEMPORARY, sync_directory
from ditbench.launch.states import states
from ditbench.report.reading.results import REFERENCE
from ditbench.rundir import OWN_DIRECTORIES, RunDirectory
from ditbench.runs.directory.lock import locked

_LIST = "`ditbench list` shows the runs; other directories are yours to remove"


def check_removable(path: Path) -> RunDirectory:
    """The run in a directory. A DitbenchError if it is not a run, holds others, is a reference run
    (in `results/reference`, or with files that git tracks), or another process is writing to it.
    """
    if path.is_symlink():
        raise DitbenchError(f"{path} is a link", f"name the run directory: {path.resolve()}")
    run = RunDirectory(path.resolve())
    if run.is_of_weights():
        raise DitbenchError(f"{path} holds scores of weights, not a run", "it is yours to remove")
    if not run.is_described():
        raise DitbenchError(f"{path} is not a run directory", _LIST)
    try:
        validate(read_toml(run.config))
    except DitbenchError as error:
        raise DitbenchError(f"{path} is not a run directory: {error.message}", _LIST) from error
    if _holds_another(run.path):
        raise DitbenchError(f"{path} holds other runs, too", "name those one by one")
    reference = "reference runs are not removed"
    if ("results", REFERENCE) in pairwise(run.path.parts):
        raise DitbenchError(f"{path} is a reference run", reference)
    if _is_tracked(run.path):
        what = f"{path} is a reference run: git tracks files in it"
        raise DitbenchError(what, f"{reference}; `git rm` does it")
    if states([run]) == ["running"]:
        what = f"{path} is being written by another process"
        raise DitbenchError(what, "stop that first", EXIT_FAILED)
    return run


def remove(run: RunDirectory) -> None:
    """Remove a run directory that `check_removable` has returned.

    It is renamed first, while it is locked: a removal that is interrupted leaves no part of a run
    in its place. What it leaves goes with the next removal of such a run. Raises a DitbenchError if
    another process has begun to write to it, an OSError if it cannot be removed.
    """
    hidden = run.path.with_name(f"{TEMPORARY}{run.path.name}")
    with locked(run.lock):
        if hidden.exists():
            shutil.rmtree(hidden)
        run.path.rename(hidden)
        sync_directory(hidden.parent)
    shutil.rmtree(hidden)


def _holds_another(path: Path) -> bool:
    for place, directories, files in os.walk(path):
        if place == str(path):
            directories[:] = [name for name in directories if name not in OWN_DIRECTORIES]
        elif "config.toml" in files:
            return True
    return False


def _is_tracked(path: Path) -> bool:
    """Whether a file in a directory is in the index of a git repository."""
    if not any((above / ".git").exists() for above in path.parents):
        return False
    # Inherited variables may name another repository.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(path), "ls-files", "--cached", "--", "."]
    try:
        answer = subprocess.run(command, capture_output=True, env=env, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise DitbenchError(
            f"{path} is in a git repository, and git does not say whether it tracks it",
            f"look at what `{' '.join(command)}` prints, or remove the directory by hand",
            EXIT_FAILED,
        ) from error
    return bool(answer.stdout.strip())
