"""One run: train, evaluate, and write a run directory."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ditbench.config import read_toml
from ditbench.data.dataset import NotNumbers
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.rundir import RunDirectory
from ditbench.runs import records
from ditbench.runs.evaluate import create_scorer, evaluate
from ditbench.runs.grid import save_run_grid
from ditbench.runs.lock import locked
from ditbench.runs.memory import PeakMemory
from ditbench.runs.plan import build_trainer
from ditbench.runs.progress import SILENT
from ditbench.runs.runtime_errors import out_of_memory_as_error, training_errors
from ditbench.training.checkpoint import Saver, resume
from ditbench.training.nonfinite import Diverged
from ditbench.training.stop import Stopped, StopRequest
from ditbench.training.trainer import EvaluationDue, Logged

if TYPE_CHECKING:
    from ditbench.metrics.score import Scorer
    from ditbench.runs.plan import Plan
    from ditbench.runs.progress import Reporter
    from ditbench.training.trainer import Trainer


def execute(
    run: Plan, reporter: Reporter = SILENT, stop: StopRequest | None = None
) -> dict[str, Any]:
    """Train and evaluate one planned run.

    A complete run is not repeated. An interrupted run resumes from its last checkpoint.

    Returns:
        The contents of result.json.

    Raises:
        Stopped: a stop was requested; the run is saved.
        DitbenchError: exit code 1, if training diverges, memory does not suffice, torch cannot
            compile, the directory cannot be written or another process is writing to it.
    """
    stop = StopRequest() if stop is None else stop
    directory = run.directory
    stop.check()  # between two runs
    if not directory.is_complete():
        # Missing weights of a feature extractor are found before anything is written.
        with out_of_memory_as_error(run):
            scorer = create_scorer(run)
        with locked(directory.lock):
            # Another process may have completed the run in the meantime.
            if not directory.is_complete():
                with training_errors(run):
                    result = _train(run, scorer, reporter, stop)
                directory.finish(result)
                reporter.finished(run, result, reused=False)
                return result
    result = directory.read_result()
    reporter.finished(run, result, reused=True)
    return result


def _train(run: Plan, scorer: Scorer, reporter: Reporter, stop: StopRequest) -> dict[str, Any]:
    """Train and evaluate, from the last checkpoint if there is one; returns the result."""
    _rehearse(run)
    memory = PeakMemory(run.device)
    memory.start()
    trainer = build_trainer(run)
    stop.check()  # before anything is written
    _open(run, trainer, reporter)
    reporter.started(run, trainer.step, trainer.seconds)
    saver = Saver(run.directory, trainer)
    try:
        for event in trainer.run(stop):
            if isinstance(event, Logged):
                run.directory.append_train(vars(event))
                reporter.logged(event)
                saver.save_if_due()
            else:
                memory.stop()
                row = _evaluate(run, scorer, trainer, event, stop)
                # The row comes first: a checkpoint asserts that all rows before it are written.
                run.directory.append_evaluation(row)
                trainer.evaluated()
                saver.save()
                reporter.evaluated(row)
                memory.start()
    except Stopped:
        saver.save()
        raise
    except (Diverged, NotNumbers) as error:  # NotNumbers: finite weights, but samples with NaN
        facts = error.facts if isinstance(error, Diverged) else {"step": trainer.step}
        with suppress(DitbenchError):  # a full disk must not hide the divergence
            run.directory.write_failure({"reason": error.message, **facts})
        raise
    return records.result(run, trainer, scorer, memory)


def _rehearse(run: Plan) -> None:
    """Make some updates with a model that is discarded: compiling is not counted as training."""
    if updates := run.rehearsal:
        trainer = build_trainer(run)
        for _ in range(updates):
            trainer.update()


def _open(run: Plan, trainer: Trainer, reporter: Reporter) -> None:
    """Bring trainer and directory to the last checkpoint, or to the beginning."""
    directory = run.directory
    resumed = resume(directory, trainer, reporter.warned)
    if not resumed and (stale := stale_run(run)) is not None:
        reporter.warned(
            f"{run.config.block} has changed since {stale.path}, which is not resumed: "
            "this is a new run"
        )
    if not (resumed and directory.is_described()):
        records.write_description(run, records.environment_facts(run), resumed=resumed)
    elif run.begun not in (None, run.backend.name):
        why = f" ({run.backend.fallback})" if run.backend.fallback else ""
        reporter.warned(
            f"{directory.path} resumes with the backend {run.backend.name}{why}; "
            f"it was begun with {run.begun}"
        )
        facts = read_json(directory.environment) | run.backend.describe()
        facts["backend_changed_at_step"] = trainer.step
        records.write_description(run, facts, resumed=True)


def stale_run(run: Plan) -> RunDirectory | None:
    """An unfinished run of the same seed and external block, whose file was edited since."""
    now = run.config.strategy
    if now.location is None:
        return None
    for path in sorted(run.directory.path.parent.glob(f"seed{run.config.seed}-*")):
        other, then = RunDirectory(path), {}
        if other.config.is_file() and not other.is_complete():
            with suppress(DitbenchError):  # a damaged file is reported where that run is read
                then = read_toml(other.config).get("strategy", {})
        same = isinstance(then, dict) and then.get("location") == now.location
        if same and then.get("sha256") != now.sha256:
            return other
    return None


def _evaluate(
    run: Plan, scorer: Scorer, trainer: Trainer, due: EvaluationDue, stop: StopRequest
) -> dict[str, Any]:
    """Evaluate, write the sample grid, and return the row of eval.csv."""
    evaluation = evaluate(run, scorer, trainer.ema.model, stop)
    path, classes = run.directory.samples(due.step), run.dataset.num_classes
    save_run_grid(path, evaluation.samples, evaluation.labels, classes)
    return records.evaluation_row(run, scorer, evaluation, due)
