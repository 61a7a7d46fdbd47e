"""Where the numbers of a group come from: what its runs share, and the commands that repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import tomli_w

from ditbench.amounts import counted
from ditbench.config import read_toml
from ditbench.config.schema import flatten, put
from ditbench.errors import DitbenchError
from ditbench.report.facts import in_order
from ditbench.report.reading.one_run import environment, in_words
from ditbench.report.reading.values import Row
from ditbench.rundir import RunDirectory

# Keys that say which run it is; of a block of the user's own or a continued run, where it is from.
_NAMES = ("preset", "block", "seed")
_BLOCKS_OWN = ("strategy.", "parent.")
_MOST_VALUES = 4  # of one key that differs between runs


class Setting(NamedTuple):
    """A key, its value in words, and whether all runs have that value."""

    key: str
    text: str
    is_shared: bool


class Origin(NamedTuple):
    """How the runs of a group were made."""

    settings: dict[str, list[Setting]]  # the configuration, by section
    environment: dict[str, list[Setting]]  # versions and devices, the same way
    toml: str  # what all runs share of their configuration, as a file for `--config`
    commands: list[str]  # what repeats the runs with that file
    own_sources: list[str]  # blocks of the user's own, whose source is in the run directory
    continued: bool  # whether some run continues another one


def origin(final: pd.DataFrame) -> Origin:
    """Read how runs were made; `final` has one row per run."""
    runs = [RunDirectory(Path(path)) for path in final["path"]]
    configs = [flatten(read_toml(run.config)) for run in runs]
    settings = [
        {k: v for k, v in each.items() if k not in _NAMES and not k.startswith(_BLOCKS_OWN)}
        for each in configs
    ]
    first = settings[0].items()
    shared = {k: v for k, v in first if all(k in each and each[k] == v for each in settings)}
    table: dict[str, Any] = {"preset": configs[0]["preset"]} if "preset" in configs[0] else {}
    put(table, shared)
    return Origin(
        _sections(settings),
        _sections(_environments(runs)),
        tomli_w.dumps(table),
        _commands(final, configs, settings, shared),
        in_order(c["block"] for c in configs if c.get("strategy.sha256")),
        any(c.get("parent.fingerprint") for c in configs),
    )


def _environments(runs: Iterable[RunDirectory]) -> list[Row]:
    """The env.json of each run that has a readable one; no number depends on it."""
    found = []
    for run in runs:
        with suppress(DitbenchError):
            found.append({row["key"]: row["value"] for row in environment(run)})
    return found


def _sections(tables: Sequence[Row]) -> dict[str, list[Setting]]:
    """The keys of some tables by section, `train` has `lr`, each with the values that runs have."""
    sections: dict[str, list[Setting]] = {}
    for dotted in dict.fromkeys(key for table in tables for key in table):
        section, _, key = dotted.rpartition(".")
        values = Counter(in_words(table.get(dotted)) for table in tables)
        parts = [f"{text} ({counted(n, 'run')})" for text, n in values.most_common(_MOST_VALUES)]
        if len(values) > _MOST_VALUES:
            parts.append(f"{len(values) - _MOST_VALUES} other values")
        text = "; ".join(values if len(values) == 1 else parts)
        sections.setdefault(section, []).append(Setting(key, text, len(values) == 1))
    return sections


def _commands(
    final: pd.DataFrame, configs: Sequence[Row], settings: Sequence[Row], shared: Row
) -> list[str]:
    """One `ditbench run` for all blocks that agree in their seeds and in all settings."""
    seeds: dict[str, list[int]] = {}
    own: dict[str, Row] = {}
    runs = zip(final["block"], final["seed"], configs, settings, strict=True)
    for name, seed, where, config in runs:
        block = where.get("strategy.location", name)
        seeds.setdefault(block, []).append(int(seed))
        own[block] = {k: v for k, v in config.items() if k not in shared}
    alike: dict[tuple[str, ...], list[str]] = {}
    for block in in_order(seeds):
        options = ["--seeds", _seeds(seeds[block]), *_options(own[block])]
        alike.setdefault(tuple(options), []).append(block)
    run = ("ditbench", "run", "--config", "shared.toml", "--block")
    return [shlex.join([*run, ",".join(names), *options]) for options, names in alike.items()]


def _seeds(seeds: Sequence[int]) -> str:
    """`5` for 0 to 4, or a list; `7,` is the seed 7."""
    ordered = sorted(seeds)
    if len(ordered) > 1 and ordered == list(range(len(ordered))):
        return str(len(ordered))
    return ",".join(map(str, ordered)) + "," * (len(ordered) == 1)


def _options(own: Mapping[str, Any]) -> list[str]:
    """`--set key=value` for each setting of a block's own."""
    found = []
    for key, value in own.items():
        found += ["--set", f"{key}={tomli_w.dumps({'v': value}).strip().removeprefix('v = ')}"]
    return found
