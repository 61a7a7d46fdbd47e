"""Training longer: a run that continues a finished one, its parent.

The child is a run in a directory of its own. Its tables and sample grids begin with those of the
parent, and its steps, images, compute and seconds include the parent's: curves and tables show what
they show of a run that was trained so long at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ditbench.config import RunConfig, read_toml, validate
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import write_atomically
from ditbench.rundir import PLANNED_SEEDS, RunDirectory
from ditbench.runs.directory.reopen import complete_result, read_config, restore_own_block
from ditbench.runs.planning.plan import Plan
from ditbench.training.checkpoint import identity, restore_from, save_checkpoint
from ditbench.training.trainer import Trainer

# Entries of env.json that say how the settings of a run were chosen: a child has its parent's.
INHERITED = (PLANNED_SEEDS, "match", "tuned_lr")


def child_of(parent: RunDirectory, steps: int) -> RunConfig:
    """The configuration of a run that trains a finished one to so many steps in total.

    All settings are the parent's. The warm-up keeps its length in steps; evaluations continue at
    the parent's distance, and the last one is at the end.

    Raises:
        DitbenchError: the parent is not complete, has a budget of time, at least as many steps or
            no checkpoint; its block, which is not ditbench's own, is missing or has changed.
    """
    path, config = parent.path, read_config(parent)
    done = complete_result(parent)["steps"]
    if config.budget.seconds is not None:
        raise DitbenchError(
            f"{path} has a budget of time, whose warm-up has no length in steps",
            "train longer from the start: the command that began it, with a longer --time",
        )
    if steps <= done:
        what = f"--steps {steps} is not above the {done} steps that {path} has made"
        raise DitbenchError(what, "--steps is the total, with those of the run that is continued")
    if not parent.checkpoint.is_file():
        raise DitbenchError(
            f"{path} has no checkpoint to continue from",
            "copy the run directory with its checkpoints, or train from the start",
        )
    try:
        restore_own_block(parent, config, trust=False)
    except DitbenchError as error:
        hint = f"restore the file as it was: {parent.strategy} is a copy of it"
        raise DitbenchError(error.message, hint) from error
    points = config.eval.points
    added = min(max(1, round((steps - done) * points / done)), steps - done)
    origin = {"path": str(path), "fingerprint": config.fingerprint, "steps": done, "points": points}
    return config.with_values(
        budget__steps=steps,
        train__warmup=config.train.warmup * done / steps,
        eval__points=points + added,
        parent=origin,
    )


def notes_of(parent: RunDirectory) -> dict[str, Any]:
    """What env.json of a child records of its parent, and the parent's own notes."""
    before = parent.facts()
    names = {"path": str(parent.path.absolute()), "device": before.get("device")}
    return inherited_notes(before) | {"parent": names}


def inherited_notes(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of env.json that a run has from the one that its settings come from."""
    return {key: facts[key] for key in INHERITED if key in facts}


def inherit(run: Plan, trainer: Trainer) -> RunDirectory | None:
    """Bring a trainer at step 0 to the end of the parent; None for a run without a parent.

    Raises a DitbenchError (exit code 1) if the parent is gone, damaged, or of another kind of
    device.
    """
    before = run.config.parent
    if before.fingerprint is None:
        return None
    parent = RunDirectory(before.path) if before.path else None
    if parent is None or not parent.is_complete():
        raise DitbenchError(
            f"the run that this one continues is gone: {before.path}",
            "restore it, or name it where it is now: `ditbench run --continue RUN`",
            EXIT_FAILED,
        )
    device = parent.read_result()["device"]
    if (device == "cpu") != (run.device.type == "cpu"):  # their generators differ
        raise DitbenchError(
            f"{parent.path} was trained on {device}, and {run.device} draws other noise",
            f"continue it on such a device: --device {'cpu' if device == 'cpu' else 'cuda'}",
            EXIT_FAILED,
        )
    restore_from(parent, trainer, identity(before.fingerprint, run.config.seed))
    if (trainer.step, trainer.evaluations) != (before.steps, before.points):
        raise DitbenchError(
            f"the checkpoint of {parent.path} is of step {trainer.step}, not of its end",
            "copy the run directory again from where it is whole",
            EXIT_FAILED,
        )
    parent.check_tables(trainer.logged, trainer.evaluations)
    return parent


def begin(run: Plan, trainer: Trainer, parent: RunDirectory) -> None:
    """Give a described run the rows, the sample grids and the last state of its parent."""
    if run.world.first:
        grids = [path.name for path in parent.path.glob("samples/step-*.png")]
        for name in ("train.csv", "eval.csv", *(f"samples/{grid}" for grid in grids)):
            _copy(parent.path / name, run.directory.path / name)
    # From here on, the run needs its parent no more.
    save_checkpoint(run.directory, trainer)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    write_atomically(target, lambda file: file.write(content))


def shorter(run: Plan) -> Path | None:
    """A complete run that differs from a new one in nothing but its smaller number of steps."""
    config, directory = run.config, run.directory
    if config.budget.steps is None or directory.is_complete() or directory.checkpoints:
        return None
    found: dict[int, Path] = {}
    for other, then in others_of(run):
        steps, more = then.budget.steps, config.budget.steps
        if not other.is_complete() or not other.checkpoint.is_file() or (steps or more) >= more:
            continue
        if then.with_values(budget__steps=more).fingerprint == config.fingerprint:
            found[steps or 0] = other.path
    return found[max(found)] if found else None


def others_of(run: Plan) -> Iterator[tuple[RunDirectory, RunConfig]]:
    """The other runs of a plan's block and seed; damaged ones are reported where they are read."""
    for path in sorted(run.directory.path.parent.glob(f"seed{run.config.seed}-*")):
        other = RunDirectory(path)
        if path != run.directory.path and other.config.is_file():
            with suppress(DitbenchError):
                yield other, validate(read_toml(other.config))
