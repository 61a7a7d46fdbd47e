"""`ditbench run --continue`: settings come from the run that is continued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.cli.options.parse import parse_count
from ditbench.cli.options.training import Training, check_out
from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from ditbench.config import RunConfig
    from ditbench.runs.planning.plan import Plan

HINT = "leave it out: a continued run keeps the settings of its parent"


def configure(
    run: Path, options: Training, other: Mapping[str, object]
) -> tuple[RunConfig, dict[str, Any]]:
    """The configuration of a run that continues another, and its notes for env.json.

    A DitbenchError for an option that changes what is trained or evaluated, such as one of the
    `other` ones (None where not given).
    """
    from ditbench.config import put, validate
    from ditbench.config.load import parse_settings
    from ditbench.config.schema import flatten
    from ditbench.runs.origins.parent import child_of, notes_of

    bases = {"--preset": options.preset, "--config": options.config, "--match": options.match}
    for name, value in {**other, **bases, "--init": options.init}.items():
        if value is not None:
            raise DitbenchError(f"--continue does not take {name}", HINT)
    if options.steps is None:
        what = "--continue lacks --steps"
        raise DitbenchError(what, "give the total, with those of the run: --steps 40k")
    parent = RunDirectory(run)
    config = child_of(parent, parse_count(options.steps, "--steps"))
    table = config.model_dump(mode="json", exclude_none=True)
    put(table, parse_settings(tuple(options.set_ or ())))
    given = options.overrides().items()
    put(table, {key: value for key, value in given if value is not None and key != "budget.steps"})
    changed = validate(table)
    if (changed.fingerprint, changed.seed) != (config.fingerprint, config.seed):
        before, after = flatten(config.model_dump()), flatten(changed.model_dump())
        key = next(key for key in before if before[key] != after.get(key))
        raise DitbenchError(f"{key} is {before[key]} in {run}, not {after.get(key)}", HINT)
    return changed, notes_of(parent)


def place(config: RunConfig, run: Path, out: Path | None) -> Path:
    """Where the directory of a continued run goes: into `out` if given, or beside its parent."""
    above = run.absolute().parents
    if out is None and (above[1].name, above[0].name) == (config.preset, config.block):
        out = run.parents[2] if len(run.parents) > 3 else above[2]
    out = out or Path("results")
    check_out(out, config.data.path if config.data.name == "folder" else None)
    return out


def remark_on_shorter(plans: Sequence[Plan], say: Callable[[str], None]) -> None:
    """Say in one line which new runs could continue one that exists."""
    from ditbench.runs.origins.parent import shorter

    found = [(plan, path) for plan in plans if (path := shorter(plan)) is not None]
    if found:
        plan, path = found[0]
        one, what = f"{path} is this run with fewer steps", "it"
        if len(found) > 1:
            one, what = f"{len(found)} of these runs exist with fewer steps", "the first"
        command = f"ditbench run --continue {path} --steps {plan.config.budget.steps}"
        say(f"{one}; to continue {what}: {command}")
