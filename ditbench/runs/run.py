"""One run: train, evaluate, and write a run directory."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from ditbench.config import read_toml
from ditbench.data import recorded
from ditbench.data.dataset import NanSamples
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import read_json
from ditbench.plugins.lookup import external_block, package_of
from ditbench.rundir import RunDirectory, metric_suffix
from ditbench.runs import begun, environment
from ditbench.runs.changed_data import run_on_other_images
from ditbench.runs.evaluate import (
    Evaluation,
    create_scorer,
    evaluate,
    metrics_asked,
    sample_images,
    time_scoring,
)
from ditbench.runs.lock import locked
from ditbench.runs.memory import PeakMemory
from ditbench.runs.plan import Plan, build_trainer
from ditbench.runs.progress import Reporter
from ditbench.runs.runtime_errors import training_errors
from ditbench.runs.sample import GRID_ROWS, first_classes, save_run_grid
from ditbench.training.checkpoint import Saver, resume
from ditbench.training.nonfinite import Diverged
from ditbench.training.repair import repaired
from ditbench.training.stop import Stopped, StopRequest
from ditbench.training.trainer import Logged, Trainer

if TYPE_CHECKING:
    from ditbench.metrics.score import Scorer


def execute(
    run: Plan, reporter: Reporter | None = None, stop: StopRequest | None = None
) -> dict[str, Any]:
    """Train and evaluate one planned run.

    A complete run is not repeated. An interrupted run resumes from its last checkpoint. Returns
    the contents of result.json.

    Raises:
        Stopped: a stop was requested; the run is saved.
        DitbenchError: exit code 1, if training diverges, memory does not suffice, torch cannot
            compile, the directory cannot be written or another process is writing to it.
    """
    reporter = Reporter() if reporter is None else reporter
    stop = StopRequest() if stop is None else stop
    directory = run.directory
    stop.check()  # between two runs
    if not directory.is_complete():
        # Missing weights of a feature extractor are found before anything is written.
        stop.show = reporter.working
        reporter.preparing(run)
        with training_errors(run), stop.at_once():
            scorer = create_scorer(run, begun.begun_metrics(directory), stop)
            reporter.timed_scoring(time_scoring(scorer.extractors, run.dataset.images, run.device))
        with locked(directory.lock):
            # Another process may have completed the run in the meantime.
            if not directory.is_complete():
                try:
                    with training_errors(run):
                        result = _train(run, scorer, reporter, stop)
                except DitbenchError as error:
                    error.exit_code = EXIT_FAILED  # 2 would say that nothing was written
                    raise
                directory.finish(result)
                reporter.finished(run, result, reused=False)
                return result
    result = directory.read_result()
    reporter.finished(run, result, reused=True)
    return result


def _train(run: Plan, scorer: Scorer, reporter: Reporter, stop: StopRequest) -> dict[str, Any]:
    """Train and evaluate, from the last checkpoint if there is one; returns the result."""
    with stop.at_once():
        _rehearse(run, stop)
        memory = PeakMemory(run.device)
        memory.start()
        trainer = build_trainer(run)
    stop.check()  # before anything is written
    _open(run, trainer, scorer, reporter)
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
                row = _evaluate(run, scorer, trainer, stop)
                # The row comes first: a checkpoint asserts that all rows before it are written.
                run.directory.append_evaluation(row)
                trainer.evaluated()
                saver.save()
                reporter.evaluated(row)
                memory.start()
        _score_final(run, scorer, trainer, reporter, stop)
    except Stopped:
        saver.save()
        raise
    except (Diverged, NanSamples) as error:  # NanSamples: finite weights, but samples with NaN
        facts = error.facts if isinstance(error, Diverged) else {"step": trainer.step}
        with suppress(DitbenchError):  # a full disk must not hide the divergence
            run.directory.write_failure({"reason": error.message, **facts})
        raise
    return _result(run, trainer, scorer, memory)


def _rehearse(run: Plan, stop: StopRequest) -> None:
    """Make some updates with a model that is discarded: compiling is not counted as training."""
    if updates := run.rehearsal:
        rehearse = partial(_update, run, updates, stop)
        if run.backend.compiles:
            repaired(rehearse)
        else:
            rehearse()


def _update(run: Plan, updates: int, stop: StopRequest) -> None:
    trainer = build_trainer(run)
    stop.begin("compiling" if run.backend.compiles else "warming up", updates)
    for _ in range(updates):
        trainer.update()
        stop.advance()


def _open(run: Plan, trainer: Trainer, scorer: Scorer, reporter: Reporter) -> None:
    """Restore trainer and directory from the last checkpoint, or start from step 0."""
    directory = run.directory
    resumed = resume(directory, trainer, reporter.warned)
    if not resumed and (stale := stale_run(run)) is not None:
        reporter.warned(
            f"{run.config.block} has changed since {stale.path}, which is not resumed: "
            "this is a new run"
        )
    if not resumed and (other := run_on_other_images(run)) is not None:
        reporter.warned(
            f"the images of '{run.dataset.name}', or the order of their classes, have changed "
            f"since {other.path}, which is not resumed: this is a new run"
        )
    if resumed and (difference := begun.changed(scorer.versions, metrics_asked(run))):
        reporter.warned(f"{directory.path} resumes with the metrics it began with: {difference}")
    before: dict[str, Any] = {}
    with suppress(DitbenchError):  # a missing or damaged file is written again
        before = read_json(directory.environment)
    if not (resumed and before and directory.is_described()):
        _write_description(run, _environment_facts(run, scorer), resumed=resumed)
        return
    facts: dict[str, Any] = {}
    if run.begun not in (None, run.backend.name):
        why = f" ({run.backend.fallback})" if run.backend.fallback else ""
        reporter.warned(
            f"{directory.path} resumes with the backend {run.backend.name}{why}; "
            f"it was begun with {run.begun}"
        )
        facts = run.backend.describe() | {"backend_changed_at_step": trainer.step}
    if facts or begun.RECORD not in before:
        before.setdefault(begun.RECORD, scorer.versions)
        _write_description(run, before | facts, resumed=True)


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


def _score_final(
    run: Plan, scorer: Scorer, trainer: Trainer, reporter: Reporter, stop: StopRequest
) -> None:
    """Write final.csv, one row per draw, where the final score is not that of the last evaluation.

    Draws that an interrupted run has made are kept.
    """
    config, directory = run.config.eval, run.directory
    done = len(directory.read_finals())
    if config.extra_draws <= 0 or done >= config.draws:
        return
    steps = config.steps_of_final
    final = replace(run, config=run.config.with_values(eval__sampling_steps=steps))
    reporter.scoring(config.draws - done, steps)
    for draw in range(done, config.draws):
        if draw == 0 and config.final_sampling_steps is None:
            row = directory.read_evaluations()[-1]
        else:
            row = _evaluate(final, scorer, trainer, stop, draw)
        directory.append_final({"draw": draw, **row})
        reporter.evaluated(row)


def _evaluate(
    run: Plan, scorer: Scorer, trainer: Trainer, stop: StopRequest, draw: int = 0
) -> dict[str, Any]:
    """Evaluate, write the sample grid of draw 0, and return the row of eval.csv."""
    evaluation = evaluate(run, scorer, trainer.ema.model, stop, draw)
    if draw == 0:
        _save_grid(run, trainer, evaluation)
    config, columns = run.config, _metric_columns(run, scorer)
    return {
        "step": trainer.step,
        "images": trainer.images,
        "train_flops": run.train_flops(trainer.step),
        "seconds": trainer.seconds,
        **{column: evaluation.metrics[name] for name, column in columns.items()},
        "features": config.metrics.features,
        "samples": config.eval.samples,
        "sampler": config.eval.sampler,
        "sampling_steps": config.eval.sampling_steps,
        "cfg_scale": config.eval.cfg_scale,
        "ema_decay": config.train.ema_decay,
        "sampling_seconds": evaluation.sampling_seconds,
        "eval_seconds": evaluation.seconds,
    }


def _save_grid(run: Plan, trainer: Trainer, evaluation: Evaluation) -> None:
    """Write the grid of samples; if few of some class were scored, of images drawn for it."""
    samples, labels = evaluation.samples, evaluation.labels
    if run.config.eval.labels == "data":
        labels = torch.tensor(first_classes(run.dataset.num_classes)).repeat(GRID_ROWS)
        samples = sample_images(trainer.ema.model, run, labels)
    path = run.directory.samples(trainer.step)
    save_run_grid(path, samples, labels, run.dataset.num_classes)


def _metric_columns(run: Plan, scorer: Scorer) -> dict[str, str]:
    """The column in eval.csv and final.csv of each metric, by its name."""
    suffix = f"_{metric_suffix(run.config.eval.samples)}"
    return {
        metric.name: metric.name + suffix * metric.depends_on_samples for metric in scorer.metrics
    }


def _environment_facts(run: Plan, scorer: Scorer) -> dict[str, Any]:
    """The contents of env.json."""
    facts = environment.describe(run.device) | run.backend.describe() | run.notes
    facts[recorded.RECORD] = recorded.facts_of(run.dataset)
    facts[begun.RECORD] = scorer.versions
    external = external_block(run.config.block)
    if external and (package := package_of(external.defined_at)):
        facts["strategy_package"] = package
    return facts


def _write_description(run: Plan, facts: dict[str, Any], *, resumed: bool) -> None:
    """Write what is known before training; what an earlier start left is removed."""
    steps = run.budget.steps
    cost = {
        "block": run.config.block,
        **run.cost.as_dict(),
        "train_flops_per_image": run.cost.train_flops_per_image,
        # Under a time budget, only the result says how many steps were made.
        "train_flops": None if steps is None else run.train_flops(steps),
    }
    external = external_block(run.config.block)
    write = run.directory.describe if resumed else run.directory.start
    write(run.config.to_toml(), facts, cost, external.source if external else None)


def _result(run: Plan, trainer: Trainer, scorer: Scorer, memory: PeakMemory) -> dict[str, Any]:
    """The contents of result.json. Sums come from the tables: a resumed run has several parts."""
    rows, finals = run.directory.read_evaluations(), run.directory.read_finals()
    final = dict(finals[0] if finals else rows[-1])
    if finals:
        del final["draw"]
        for column in _metric_columns(run, scorer).values():
            final[column] = fmean(row[column] for row in finals)
    # Without steps of its own, draw 0 is the last evaluation.
    rows += finals if run.config.eval.final_sampling_steps else finals[1:]
    sampling_seconds = sum(row["sampling_seconds"] for row in rows)
    return {
        "preset": run.config.preset,
        "block": run.config.block,
        "seed": run.config.seed,
        "fingerprint": run.config.fingerprint,
        "dataset_digest": run.dataset.digest,
        "features_digest": scorer.extractors[0].digest,
        "steps": trainer.step,
        "images": trainer.images,
        "train_flops": run.train_flops(trainer.step),
        "skipped_updates": int(trainer.sentinel.count.item()),
        "train_seconds": trainer.seconds,
        "eval_seconds": sum(row["eval_seconds"] for row in rows),
        "steps_per_second": trainer.step / trainer.seconds,
        "samples_per_second": len(rows) * run.config.eval.samples / sampling_seconds,
        "peak_memory_bytes": memory.bytes,
        "device": environment.device_name(run.device),
        "metrics": [metric.describe() for metric in scorer.metrics],
        "scoring": scorer.describe(run.config.eval.samples),
        "final": final,
    }
