"""The run directory before training: resumed from a checkpoint, or started and described."""

from __future__ import annotations

from typing import Any

from ditbench.data import recorded
from ditbench.metrics.scorer import Scorer
from ditbench.plugins.lookup import external_block, package_of
from ditbench.rundir import SHARED_CPU, WORLD_SIZE, WORLD_SIZE_CHANGED
from ditbench.runs.directory import begun
from ditbench.runs.events.reporter import Reporter
from ditbench.runs.machine import environment
from ditbench.runs.origins import init, parent
from ditbench.runs.planning.plan import Plan, model_arguments
from ditbench.runs.scoring.evaluate import metrics_asked
from ditbench.training.checkpoint import resume
from ditbench.training.trainer import Trainer


def open_directory(run: Plan, trainer: Trainer, scorer: Scorer, reporter: Reporter) -> None:
    """Restore trainer and directory from the last checkpoint, or start from step 0.

    Process 0 of several does it first: it may remove damaged files.
    """
    if not run.world.first:
        run.world.decided(None)
    _open(run, trainer, scorer, reporter)
    if run.world.first:
        run.world.decided(None)


def _open(run: Plan, trainer: Trainer, scorer: Scorer, reporter: Reporter) -> None:
    if resume(run.directory, trainer, reporter.warned):
        _describe_resumed(run, trainer, scorer, reporter)
        return
    if reason := left_behind(run):
        reporter.warned(f"{reason}, which is not resumed: this is a new run")
    inherited = parent.inherit(run, trainer)  # before anything is written
    if inherited is None:
        models = (trainer.model, trainer.ema.model)
        init.start_from(run.config.init, models, model_arguments(run))
    run.directory.start(*_description(run, _environment_facts(run, scorer)))
    if inherited is not None:
        parent.begin(run, trainer, inherited)


def _describe_resumed(run: Plan, trainer: Trainer, scorer: Scorer, reporter: Reporter) -> None:
    """Report and record what differs from when the run began."""
    directory = run.directory
    if difference := begun.changed(scorer.versions, metrics_asked(run)):
        reporter.warned(f"{directory.path} resumes with the metrics it began with: {difference}")
    before = directory.facts()
    facts = dict(before) or _environment_facts(run, scorer)
    if run.begun not in (None, run.backend.name):
        why = f" ({run.backend.fallback})" if run.backend.fallback else ""
        reporter.warned(
            f"{directory.path} resumes with the backend {run.backend.name}{why}; "
            f"it was begun with {run.begun}"
        )
        facts |= run.backend.describe() | {"backend_changed_at_step": trainer.step}
    if SHARED_CPU in run.notes:  # perhaps only from here on
        facts[SHARED_CPU] = run.notes[SHARED_CPU]
    if facts.get(WORLD_SIZE, 1) != run.world.size:
        reporter.warned(
            f"{directory.path} resumes with {run.world.size} processes; it was begun with "
            f"{facts.get(WORLD_SIZE, 1)}: its times are those of both"
        )
        facts |= {WORLD_SIZE: run.world.size, WORLD_SIZE_CHANGED: trainer.step}
    facts.setdefault(begun.RECORD, scorer.versions)
    if facts != before or not directory.is_described():
        directory.describe(*_description(run, facts))


def left_behind(run: Plan) -> str | None:
    """An unfinished run of the same seed whose block or images have changed since, in words."""
    config = run.config
    for other, then in parent.others_of(run):
        if other.is_complete():
            continue
        now, before = config.strategy, then.strategy
        if now.location and now.location == before.location and now.sha256 != before.sha256:
            return f"{config.block} has changed since {other.path}"
        if then.with_values(data__digest=config.data.digest).fingerprint == config.fingerprint:
            return (
                f"the images of '{run.dataset.name}', or the order of their classes, have changed "
                f"since {other.path}"
            )
    return None


def _environment_facts(run: Plan, scorer: Scorer) -> dict[str, Any]:
    """The contents of env.json."""
    facts = environment.describe(run.device) | run.backend.describe() | run.notes
    facts[recorded.RECORD] = recorded.facts_of(run.dataset)
    facts[begun.RECORD] = scorer.versions
    facts[WORLD_SIZE] = run.world.size
    external = external_block(run.config.block)
    if external and (package := package_of(external.defined_at)):
        facts["strategy_package"] = package
    return facts


def _description(run: Plan, facts: dict[str, Any]) -> tuple[Any, ...]:
    """What is known before training: the arguments of `RunDirectory.describe`."""
    steps = run.budget.steps
    cost = {
        "block": run.config.block,
        **run.cost.as_dict(),
        "train_flops_per_image": run.cost.train_flops_per_image,
        # Under a time budget, only the result says how many steps were made.
        "train_flops": None if steps is None else run.train_flops(steps),
    }
    external = external_block(run.config.block)
    return run.config.to_toml(), facts, cost, external.source if external else None
