"""The plan of a run that exists, to be trained again from its own directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ditbench.config import RunConfig
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.rundir import REPRODUCES, RunDirectory
from ditbench.runs.directory.reopen import (
    check_images,
    complete_result,
    read_config,
    restore_own_block,
    source_at,
)
from ditbench.runs.origins import init
from ditbench.runs.origins.parent import inherited_notes
from ditbench.runs.origins.parent import notes_of as notes_of_child
from ditbench.runs.planning.plan import Plan, count_cost, model_arguments, plan_run, resolve_all


def plan_again(
    run: RunDirectory,
    out: Path,
    device: torch.device,
    *,
    backend: str | None = None,
    data: Path | None = None,
    trust: bool = False,
) -> Plan:
    """The plan of a complete run, which stays as it is, in a directory of its own below `out`.

    Without a `backend`, it is the run's own choice, which may be `auto`; `data` is where the images
    are now, by default where they were. `trust` executes the copy of an external block in the run.

    Raises:
        DitbenchError: the run is not complete, or was changed; its block, its images or what it
            starts from is gone or has changed; the directory would be its own.
    """
    result = complete_result(run)
    facts = read_json(run.environment)
    config = _found(read_config(run), facts)
    restore_own_block(run, config, trust=trust)
    if data is not None:
        config = config.with_values(data__path=str(data), data__name=source_at(config, data))
    asked = config.with_values(data__digest="auto")  # it is compared below
    if backend is not None:
        asked = asked.with_values(train__backend=backend)
    (task,) = resolve_all([asked], device)
    check_images(task.dataset, result.get("dataset_digest"), run.path)
    if task.config.fingerprint != result.get("fingerprint"):
        raise DitbenchError(
            f"this version of ditbench resolves the settings of {run.path} to others: its "
            "fingerprint is another",
            "use the version that trained it: `ditbench show` names its commit",
        )
    config = task.config
    directory = RunDirectory.of(out, config.preset, config.block, config.seed, config.fingerprint)
    if directory.path.resolve() == run.path.resolve():
        what = f"the run would be trained again into its own directory, {run.path}"
        raise DitbenchError(what, "choose another place: --out DIR")
    before = config.parent.path
    notes = {} if before is None else notes_of_child(RunDirectory(before))
    notes |= inherited_notes(facts) | init.notes_of(config.init, model_arguments(task))
    notes[REPRODUCES] = {"path": str(run.path.absolute())}
    return plan_run(task, directory, count_cost(task)).with_notes(notes)


def _found(config: RunConfig, facts: Mapping[str, Any]) -> RunConfig:
    """The configuration with the weights or the run that it starts from where env.json names them.

    The path in the configuration may be relative to another working directory.
    """
    for section, path in (("init", config.init.path), ("parent", config.parent.path)):
        if path is None or path.exists():
            continue
        recorded = facts.get(section)
        there = recorded.get("path") if isinstance(recorded, dict) else None
        if not isinstance(there, str) or not Path(there).exists():
            what = f"what the run starts from is gone: {there or path}"
            raise DitbenchError(what, "restore it there")
        config = config.with_values(**{f"{section}__path": there})
    return config
