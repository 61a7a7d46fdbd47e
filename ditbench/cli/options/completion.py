"""What a shell offers at the tab key: blocks, presets, settings and run directories.

Each function takes what is typed so far. A shell calls ditbench for it, so imports are late.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from ditbench.models.registry import block_names, group_names
from ditbench.plugins.lookup import installed

# A shell waits: a search that begins at / stops here.
MOST_DIRECTORIES = 3_000


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def complete_blocks(incomplete: str) -> list[str]:
    """Groups and blocks, the last of several that commas separate; none twice."""
    before, comma, last = incomplete.rpartition(",")
    names = dict.fromkeys((*group_names(), *block_names(), *installed()))
    given = before.split(",")
    return [before + comma + name for name in _beginning(last, names) if name not in given]


def complete_presets(incomplete: str) -> list[str]:
    """The names of presets."""
    from ditbench.config.load import presets

    return _beginning(incomplete, presets())


def complete_keys(incomplete: str) -> list[str]:
    """Keys of settings, and their sections."""
    from ditbench.config.schema import keys, section_names

    return _beginning(incomplete, (*section_names(), *keys()))


def complete_assignments(incomplete: str) -> list[str]:
    """`train.lr=` for `--set`."""
    from ditbench.config.schema import keys

    return [f"{key}=" for key in _beginning(incomplete, keys())]


def complete_runs(incomplete: str) -> list[str]:
    """Run directories below the directory that is typed, or in `results`."""
    typed = os.path.dirname(incomplete)  # noqa: PTH120 (Path would drop a leading ./)
    found = []
    for number, (place, below, files) in enumerate(os.walk(typed or "results")):
        if number == MOST_DIRECTORIES:
            break
        below.sort()
        if "config.toml" in files:
            found.append(place)
            below.clear()
    return _beginning(incomplete, found)


def complete_places(incomplete: str) -> list[str]:
    """Run directories and the directories above them."""
    prefix = "./" if incomplete.startswith("./") else ""  # which Path drops
    runs = map(Path, complete_runs(incomplete))
    above = dict.fromkeys(place for run in runs for place in (*reversed(run.parents), run))
    return _beginning(incomplete, (f"{prefix}{place}" for place in above if place.name))
