"""Finding the run directories below a place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ditbench.rundir import OWN_DIRECTORIES, TUNING, RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where a clone keeps the project's own runs, below `results`.
REFERENCE = "reference"


def find_runs(root: Path) -> Iterator[RunDirectory]:
    """Every run directory at or below `root` (those that hold a config.toml), in path order.

    The project's own runs in `results/reference` do not mix with those of a user beside them: they
    are found below `results` only if there are no others. Runs of learning-rate sweeps do not mix
    with any other runs: they are found only where `root` holds nothing but sweeps.
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
    """Directories with a config.toml, without a search where a run keeps its own files."""
    for place, directories, files in os.walk(root):
        if "config.toml" in files:
            directories[:] = [name for name in directories if name not in OWN_DIRECTORIES]
            yield Path(place)
