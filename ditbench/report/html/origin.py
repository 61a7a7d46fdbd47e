"""Where the numbers of a group come from: what its runs share, and the commands that repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import tomli_w

from ditbench.config import read_toml
from ditbench.config.schema import put
from ditbench.errors import DitbenchError
from ditbench.report.amounts import counted
from ditbench.report.facts import in_order
from ditbench.report.reading.one_run import environment, in_words
from ditbench.report.reading.values import Row, flatten
from ditbench.rundir import RunDirectory

# Keys that say which run it is; of a block of the user's own or a continued run, where it is from.
_NAMES = ("preset", "block", "seed")
_BLOCKS_OWN = ("strategy.", "parent.")
_MOST_VALUES = 4  # of one key that differs between runs


class Setting(NamedTuple):
    """A key, its value in words, and whether all runs have that value."""

    key: str
    text: str
    is_shared: bool = True


@dataclass(frozen=True)
class Origin:
    """How the runs of a group were made.

    Attributes:
        settings: the configuration, by section.
        environment: versions and devices, the same way.
        toml: what all runs share of their configuration, as a file for `--config`.
        commands: what repeats the runs with that file.
        own_sources: blocks of the user's own, whose source is in the run directory.
        continued: whether some run continues another one.
    """

    settings: dict[str, list[Setting]]
    environment: dict[str, list[Setting]]
    toml: str
    commands: list[str]
    own_sources: list[str]
    continued: bool


def origin(final: pd.DataFrame) -> Origin:
    """Read how runs were made; `final` has one row per run."""
    runs = [RunDirectory(Path(path)) for path in final["path"]]
    configs = [flatten(read_toml(run.config)) for run in runs]
    settings = [_without(config, _NAMES, _BLOCKS_OWN) for config in configs]
    shared = _shared(settings)
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


def _without(config: Row, names: Sequence[str], prefixes: tuple[str, ...]) -> Row:
    return {k: v for k, v in config.items() if k not in names and not k.startswith(prefixes)}


def _shared(tables: Sequence[Row]) -> Row:
    """The keys that have the same value in all tables."""
    first = tables[0]
    return {k: v for k, v in first.items() if all(k in t and t[k] == v for t in tables)}


def _sections(tables: Sequence[Row]) -> dict[str, list[Setting]]:
    """The keys of some tables by section: `train` has `lr`."""
    sections: dict[str, list[Setting]] = {}
    for each in _in_words(tables):
        section, _, key = each.key.rpartition(".")
        sections.setdefault(section, []).append(each._replace(key=key))
    return sections


def _in_words(tables: Sequence[Row]) -> list[Setting]:
    """Every key with its value, or with the values that it has and the number of runs of each."""
    keys = dict.fromkeys(key for table in tables for key in table)
    found = []
    for key in keys:
        values = Counter(in_words(table.get(key)) for table in tables)
        if len(values) == 1:
            found.append(Setting(key, next(iter(values))))
            continue
        parts = [
            f"{text} ({counted(count, 'run')})" for text, count in values.most_common(_MOST_VALUES)
        ]
        if len(values) > _MOST_VALUES:
            parts.append(f"{len(values) - _MOST_VALUES} other values")
        found.append(Setting(key, "; ".join(parts), is_shared=False))
    return found


def _commands(
    final: pd.DataFrame, configs: Sequence[Row], settings: Sequence[Row], shared: Row
) -> list[str]:
    """One `ditbench run` for all blocks that agree in their seeds and in all settings."""
    seeds: dict[str, list[int]] = {}
    own: dict[str, Row] = {}
    for name, seed, where, config in zip(
        final["block"], final["seed"], configs, settings, strict=True
    ):
        block = where.get("strategy.location", name)
        seeds.setdefault(block, []).append(int(seed))
        own[block] = {k: v for k, v in config.items() if k not in shared}
    alike: dict[tuple[str, ...], list[str]] = {}
    for block in in_order(seeds):
        options = ["--seeds", _seeds(seeds[block]), *_options(own[block])]
        alike.setdefault(tuple(options), []).append(block)
    return [
        shlex.join(
            ["ditbench", "run", "--config", "shared.toml", "--block", ",".join(blocks), *options]
        )
        for options, blocks in alike.items()
    ]


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
