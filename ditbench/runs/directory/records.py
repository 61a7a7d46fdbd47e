"""What a run writes of its evaluations: rows of eval.csv and final.csv, and result.json."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from ditbench.metrics.scorer import Scorer
from ditbench.rundir import RunDirectory, metric_suffix
from ditbench.runs.machine.environment import device_name
from ditbench.runs.planning.plan import Plan
from ditbench.runs.scoring.evaluate import Evaluation
from ditbench.training.trainer import Trainer


class ReadOnly(RunDirectory):
    """The run directory for a process of several that is not the first: nothing is written."""

    def _nothing(self, *_: Any) -> None:
        """Process 0 does it."""

    describe = start = write_failure = finish = keep_checkpoint = rewind = _nothing  # type: ignore[assignment]
    append_train = append_evaluation = append_final = write_checkpoint = _nothing  # type: ignore[assignment]


def evaluation_row(
    run: Plan, trainer: Trainer, scorer: Scorer, evaluation: Evaluation
) -> dict[str, Any]:
    """The row of one evaluation."""
    return {
        "step": trainer.step,
        "images": trainer.images,
        "train_flops": run.train_flops(trainer.step),
        "seconds": trainer.seconds,
        **scores(run, scorer, evaluation),
    }


def scores(run: Plan, scorer: Scorer, evaluation: Evaluation) -> dict[str, Any]:
    """The part of the row that does not depend on where in training the model is."""
    config, columns = run.config, _metric_columns(run, scorer)
    return {
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


def result_of(
    run: Plan, trainer: Trainer, scorer: Scorer, peak_memory: int | None
) -> dict[str, Any]:
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
        "peak_memory_bytes": peak_memory,
        "device": device_name(run.device),
        "metrics": [metric.describe() for metric in scorer.metrics],
        "scoring": scorer.describe(run.config.eval.samples),
        "final": final,
    }


def _metric_columns(run: Plan, scorer: Scorer) -> dict[str, str]:
    """The column of each metric, by its name."""
    suffix = f"_{metric_suffix(run.config.eval.samples)}"
    return {each.name: each.name + suffix * each.depends_on_samples for each in scorer.metrics}
