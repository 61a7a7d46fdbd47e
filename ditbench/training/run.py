"""One run: train, evaluate, and leave a run directory."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ditbench.data.dataset import NotNumbers
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.metrics import create_extractor
from ditbench.metrics.real import real_statistics
from ditbench.plugins.installed import package_of
from ditbench.plugins.lookup import external_block
from ditbench.rundir import metric_suffix
from ditbench.training import environment
from ditbench.training.checkpoint import Saver, resume
from ditbench.training.compile_choice import begun_compiled
from ditbench.training.edited import unfinished_before_an_edit
from ditbench.training.evaluate import Evaluation, Evaluator
from ditbench.training.grid import GRID_ROWS, arrange, first_classes, save_grid
from ditbench.training.lock import locked
from ditbench.training.nonfinite import Diverged
from ditbench.training.parts import build_trainer
from ditbench.training.shortage import naming_what_failed, naming_what_is_too_large
from ditbench.training.signals import Stopped, StopRequest
from ditbench.training.train import EvaluationDue, Logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from ditbench.metrics.score import Scorer
    from ditbench.training.plan import Plan
    from ditbench.training.train import Trainer


@dataclass(frozen=True)
class Started:
    """A run begins, at `step` and `seconds` when it goes on from a checkpoint."""

    plan: Plan
    step: int
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """A row of eval.csv."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Warned:
    """Something is not as it should be, and the run goes on."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The run is complete; `reused` when it was so already."""

    plan: Plan
    result: dict[str, Any]
    reused: bool


@dataclass(frozen=True)
class Failed:
    """A run ended in an error, and others go on."""

    plan: Plan
    error: DitbenchError


Shown = Started | Logged | Evaluated | Finished
Event = Shown | Warned | Failed


def execute(
    run: Plan, on_event: Callable[[Event], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Train and evaluate one planned run; what is complete is not run again.

    An interrupted run goes on from its last checkpoint.

    Args:
        run: from `plan`.
        on_event: told what happens, as it happens.
        stop: a request to save and leave, looked at after every step.

    Returns:
        The contents of result.json.

    Raises:
        Stopped: a stop was asked for; the run is saved.
        DitbenchError: exit code 1, when training diverges, memory does not suffice, torch cannot
            compile, the directory cannot be written or another process is writing it.
    """
    stop = StopRequest() if stop is None else stop
    directory = run.directory
    stop.check()  # between two runs
    if not directory.is_complete():
        # Weights that are missing must be missed before anything is written.
        with naming_what_is_too_large(run):
            evaluator = Evaluator(run.config, run.objective, run.dataset, _scorer(run), run.device)
        with locked(directory.lock):
            # Another process may have ended it in the meantime.
            if not directory.is_complete():
                with naming_what_failed(run):
                    result = _train(run, evaluator, on_event, stop)
                directory.finish(result)
                on_event(Finished(run, result, reused=False))
                return result
    result = directory.read_result()
    on_event(Finished(run, result, reused=True))
    return result


def _train(
    run: Plan, evaluator: Evaluator, on_event: Callable[[Event], None], stop: StopRequest
) -> dict[str, Any]:
    """Train and evaluate, from the last checkpoint if there is one; returns the result."""
    directory = run.directory
    # Compiling is among what a device does once, and takes longer than all of the rest.
    rehearse(run, max(run.budget.rehearsal, int(run.compiling.on)))
    environment.reset_peak_memory(run.device)
    trainer = build_trainer(run)
    stop.check()  # nothing is written yet that could be half there
    goes_on = resume(directory, trainer, lambda text: on_event(Warned(text)))
    if not goes_on and (other := unfinished_before_an_edit(run)) is not None:
        told = f"{run.config.block} has changed since {other.path}, which goes on no more"
        on_event(Warned(f"{told}: this is another run"))
    if not (goes_on and directory.is_described()):
        write = directory.describe if goes_on else directory.start
        facts = environment.describe(run.device) | run.compiling.describe() | run.notes
        theirs = external_block(run.config.block)
        if theirs and (package := package_of(theirs.defined_at)):
            facts["strategy_package"] = package
        write(run.config.to_toml(), facts, _cost_table(run), theirs.source if theirs else None)
    elif begun_compiled(directory, run.device) not in (None, run.compiling.on):
        _note_the_change(run, trainer.step, on_event)
    on_event(Started(run, trainer.step, trainer.seconds))
    saver = Saver(directory, trainer)
    try:
        for event in trainer.run(stop):
            if isinstance(event, Logged):
                directory.append_train(vars(event))
                on_event(event)
                saver.save_if_due()
            else:
                row = _evaluate(run, evaluator, trainer, event, stop)
                # The row comes first: a checkpoint says that all before it is written.
                directory.append_evaluation(row)
                trainer.evaluated()
                saver.save()
                on_event(Evaluated(row))
    except Stopped:
        saver.save()
        raise
    except Diverged as error:
        with suppress(DitbenchError):  # a full disk is not what there is to tell
            directory.write_failure({"reason": error.message, **vars(error.found)})
        raise
    except NotNumbers as error:  # finite weights whose samples are not
        with suppress(DitbenchError):
            directory.write_failure({"reason": error.message, "step": trainer.step})
        raise
    return _result(run, trainer, evaluator)


def _note_the_change(run: Plan, step: int, on_event: Callable[[Event], None]) -> None:
    """Say, here and in env.json, that a run goes on otherwise compiled than it was begun."""
    how = "compiled" if run.compiling.on else "not compiled"
    on_event(Warned(f"{run.directory.path} goes on {how}, otherwise than it was begun"))
    facts = read_json(run.directory.environment) | run.compiling.describe()
    facts["compiling_changed_at_step"] = step
    run.directory.describe(run.config.to_toml(), facts, _cost_table(run))


def rehearse(run: Plan, updates: int) -> None:
    """Train a throw-away model: a device does some things once, before its first steps."""
    if updates:
        trainer = build_trainer(run)
        for _ in range(updates):
            trainer.update()


def _scorer(run: Plan) -> Scorer:
    # Imported late: torchmetrics takes seconds to import, and a dry run does not need it.
    from ditbench.metrics.score import Scorer

    extractor = create_extractor(
        run.config.metrics.features, run.dataset, run.config.metrics.inception_weights, run.device
    )
    return Scorer(extractor, real_statistics(run.dataset, extractor, run.device), run.device)


def _cost_table(run: Plan) -> dict[str, Any]:
    steps = run.budget.steps
    return {
        **run.cost.as_dict(),
        "train_flops_per_image": run.cost.train_flops_per_image,
        # Under a budget of time only the result says how much was trained.
        "train_flops": None if steps is None else run.train_flops(steps),
    }


def _evaluate(
    run: Plan, evaluator: Evaluator, trainer: Trainer, due: EvaluationDue, stop: StopRequest
) -> dict[str, Any]:
    """Evaluate, write the sample grid, and return the row of eval.csv."""
    evaluation = evaluator(trainer.ema.model, stop)
    _save_samples(run, evaluation, due.step)
    config = run.config
    suffix = metric_suffix(config.eval.samples)
    # Accuracy is a share, not an estimate that is biased by the number of samples.
    metrics = {
        name if name == "label_accuracy" else f"{name}_{suffix}": value
        for name, value in evaluation.metrics.items()
    }
    return {
        "step": due.step,
        "images": due.images,
        "train_flops": run.train_flops(due.step),
        "seconds": due.seconds,
        **metrics,
        "features": config.metrics.features,
        "samples": config.eval.samples,
        "sampler": config.eval.sampler,
        "sampling_steps": config.eval.sampling_steps,
        "cfg_scale": config.eval.cfg_scale,
        "ema_decay": config.train.ema_decay,
        "sampling_seconds": evaluation.sampling_seconds,
        "eval_seconds": evaluation.seconds,
    }


def _save_samples(run: Plan, evaluation: Evaluation, step: int) -> None:
    classes = first_classes(run.dataset.num_classes)
    grid = arrange(evaluation.samples, evaluation.labels, classes, GRID_ROWS)
    save_grid(run.directory.samples(step), grid, columns=len(classes))


def _result(run: Plan, trainer: Trainer, evaluator: Evaluator) -> dict[str, Any]:
    """The summary of a run, from its tables: an interrupted run has several parts."""
    rows = run.directory.read_evaluations()
    sampling_seconds = sum(row["sampling_seconds"] for row in rows)
    return {
        "preset": run.config.preset,
        "block": run.config.block,
        "seed": run.config.seed,
        "fingerprint": run.config.fingerprint,
        "dataset_digest": run.dataset.digest,
        "features_digest": evaluator.scorer.extractor.digest,
        "steps": trainer.step,
        "images": trainer.images,
        "train_flops": run.train_flops(trainer.step),
        "skipped_updates": int(trainer.sentinel.count.item()),
        "train_seconds": trainer.seconds,
        "eval_seconds": sum(row["eval_seconds"] for row in rows),
        "steps_per_second": trainer.step / trainer.seconds,
        "samples_per_second": len(rows) * run.config.eval.samples / sampling_seconds,
        "peak_memory_bytes": environment.peak_memory_bytes(run.device),
        "device": environment.device_name(run.device),
        "final": rows[-1],
    }
