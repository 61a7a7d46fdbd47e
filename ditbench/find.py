"""Which run directories there are below a place. Torch-free."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.rundir import OWN_DIRECTORIES, RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the project's own runs lie below a clone's results.
REFERENCE = "reference"
# Where the sweeps of `ditbench tune` lie below a directory of results.
TUNING = "tune"


def find_runs(root: Path) -> Iterator[RunDirectory]:
    """Every run directory at or below `root` (those that hold a config.toml), in path order.

    In a clone, `results/reference` holds the project's own runs: they do not mix with those of a
    user beside them, and are found below `results` only while there are no others. Sweeps of
    learning rates mix with no other runs: they are found where `root` is theirs alone.
    """
    if (root / "config.toml").is_file():
        yield RunDirectory(root)
        return
    paths = sorted(path for path in _runs_below(root) if not _is_sweep(path.relative_to(root)))
    own = [path for path in paths if path.relative_to(root).parts[0] != REFERENCE]
    yield from map(RunDirectory, own or paths)


def _is_sweep(below: Path) -> bool:
    """Whether the path of a run is `.../tune/<preset>/<block>/seed...`."""
    return below.parts[-4:-3] == (TUNING,)


def _runs_below(root: Path) -> Iterator[Path]:
    """Directories with a config.toml; where a run keeps its own files none is looked for."""
    for place, directories, files in os.walk(root):
        if "config.toml" in files:
            directories[:] = [name for name in directories if name not in OWN_DIRECTORIES]
            yield Path(place)
