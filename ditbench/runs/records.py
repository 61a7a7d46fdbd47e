"""What a run writes into its directory: facts, costs, rows and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ditbench.plugins.lookup import external_block, package_of
from ditbench.rundir import metric_suffix
from ditbench.runs import environment

if TYPE_CHECKING:
    from ditbench.metrics.score import Scorer
    from ditbench.runs.evaluate import Evaluation
    from ditbench.runs.memory import PeakMemory
    from ditbench.runs.plan import Plan
    from ditbench.training.trainer import EvaluationDue, Trainer


def environment_facts(run: Plan) -> dict[str, Any]:
    """The contents of env.json."""
    facts = environment.describe(run.device) | run.backend.describe() | run.notes
    external = external_block(run.config.block)
    if external and (package := package_of(external.defined_at)):
        facts["strategy_package"] = package
    return facts


def write_description(run: Plan, facts: dict[str, Any], *, resumed: bool) -> None:
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


def evaluation_row(
    run: Plan, scorer: Scorer, evaluation: Evaluation, due: EvaluationDue
) -> dict[str, Any]:
    """One row of eval.csv."""
    config = run.config
    suffix = f"_{metric_suffix(config.eval.samples)}"
    metrics = {
        metric.name + suffix * metric.depends_on_samples: evaluation.metrics[metric.name]
        for metric in scorer.metrics
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


def result(run: Plan, trainer: Trainer, scorer: Scorer, memory: PeakMemory) -> dict[str, Any]:
    """The contents of result.json. Sums come from eval.csv: a resumed run has several parts."""
    rows = run.directory.read_evaluations()
    sampling_seconds = sum(row["sampling_seconds"] for row in rows)
    return {
        "preset": run.config.preset,
        "block": run.config.block,
        "seed": run.config.seed,
        "fingerprint": run.config.fingerprint,
        "dataset_digest": run.dataset.digest,
        "features_digest": scorer.extractor.digest,
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
        "final": rows[-1],
    }
