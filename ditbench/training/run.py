"""One run: build its parts, train, evaluate, and leave a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ditbench.data import load_dataset
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.metrics import create_extractor, extractor_class
from ditbench.metrics.real import real_statistics
from ditbench.models.blocks import check_block
from ditbench.models.cost import Cost, count
from ditbench.models.dit import DiT, check_shape
from ditbench.models.sizes import ModelSize
from ditbench.objectives import create_objective
from ditbench.rundir import RunDirectory, metric_suffix
from ditbench.training import environment
from ditbench.training.checkpoint import load_checkpoint, save_checkpoint
from ditbench.training.evaluate import Evaluation, Evaluator
from ditbench.training.grid import GRID_COLUMNS, GRID_ROWS, arrange, save_grid
from ditbench.training.train import EvaluationDue, Logged, Trainer, evaluation_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.score import Scorer
    from ditbench.objectives.base import Objective


@dataclass(frozen=True)
class Started:
    """A run begins, at `step` when it goes on from a checkpoint."""

    plan: Plan
    step: int


@dataclass(frozen=True)
class Evaluated:
    """A row of eval.csv."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """The run is complete; `reused` when it was so already."""

    plan: Plan
    result: dict[str, Any]
    reused: bool


Event = Started | Logged | Evaluated | Finished


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a run before it trains.

    Attributes:
        config: with precision and sampler resolved.
        directory: where it goes.
        cost: of the model.
        dataset: the images.
        objective: the loss and samplers.
        device: where it trains.
    """

    config: RunConfig
    directory: RunDirectory
    cost: Cost
    dataset: ImageDataset
    objective: Objective
    device: torch.device

    @property
    def images(self) -> int:
        """Images that training will see."""
        return self.config.budget.steps * self.config.train.batch_size

    @property
    def train_flops(self) -> float:
        """Floating-point operations of training: 3 x forward MACs x 2 x images."""
        return self.cost.train_flops_per_image * self.images

    def as_dict(self) -> dict[str, Any]:
        """What `--dry-run` tells."""
        return {
            **self.cost.as_dict(),
            "seed": self.config.seed,
            "steps": self.config.budget.steps,
            "images": self.images,
            "train_flops": self.train_flops,
            "evaluation_steps": evaluation_steps(self.config.budget.steps, self.config.eval.points),
            "path": str(self.directory.path),
            "complete": self.directory.is_complete(),
        }


def plan(config: RunConfig, out: Path, device: torch.device) -> Plan:
    """Check a configuration against everything it names; nothing is written.

    Raises:
        DitbenchError: for an unknown name, a batch larger than the data, a patch size that does not
            divide the images, features that do not fit them, a sampler that the objective does not
            have, data that are not those of the configuration.
    """
    check_block(config.block)
    dataset = load_dataset(config.data.name, config.data.path)
    _check_data(config, dataset)
    if config.train.batch_size > len(dataset):
        raise DitbenchError(
            f"batch size {config.train.batch_size} is larger than the data ({len(dataset)} images)",
            f"pass --batch-size {len(dataset)} or less",
        )
    extractor_class(config.metrics.features, dataset)
    objective = create_configured_objective(config)
    config = _resolve(config, dataset, objective, device)
    size = model_size(config)
    check_shape(size, dataset.height, dataset.width)
    cost = count(
        config.block,
        size,
        height=dataset.height,
        width=dataset.width,
        channels=dataset.channels,
        out_channels=objective.output_channels(dataset.channels),
        num_classes=dataset.num_classes,
        mlp_ratio=config.model.mlp_ratio,
    )
    directory = RunDirectory.of(out, config.preset, config.block, config.seed, config.fingerprint)
    return Plan(config, directory, cost, dataset, objective, device)


def execute(run: Plan, on_event: Callable[[Event], None]) -> dict[str, Any]:
    """Train and evaluate one planned run; what is complete is not run again.

    An interrupted run goes on from its last checkpoint, made at its last evaluation.

    Args:
        run: from `plan`.
        on_event: told what happens, as it happens.

    Returns:
        The contents of result.json.

    Raises:
        DitbenchError: exit code 1, when training diverges, memory does not suffice or the directory
            cannot be written.
    """
    directory = run.directory
    if directory.is_complete():
        result = directory.read_result()
        on_event(Finished(run, result, reused=True))
        return result
    try:
        result = _train(run, on_event)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(run) from error
    directory.finish(result)
    on_event(Finished(run, result, reused=False))
    return result


def _train(run: Plan, on_event: Callable[[Event], None]) -> dict[str, Any]:
    """Train and evaluate, from the last checkpoint if there is one; returns the result."""
    directory = run.directory
    # Weights that are missing must be missed before anything is written.
    evaluator = Evaluator(run.config, run.objective, run.dataset, _scorer(run), run.device)
    resume = directory.checkpoint.is_file()
    if not resume:
        directory.start(run.config.to_toml(), environment.describe(run.device), _cost_table(run))
    environment.reset_peak_memory(run.device)
    model = build_model(run.config, run.dataset, run.objective, run.device)
    trainer = Trainer(run.config, model, run.objective, run.dataset, run.device)
    if resume:
        load_checkpoint(directory.checkpoint, trainer)
        directory.rewind(trainer.step)
    on_event(Started(run, trainer.step))
    for event in trainer.run():
        if isinstance(event, Logged):
            directory.append_train(vars(event))
            on_event(event)
        else:
            row = _evaluate(run, evaluator, trainer, event)
            # The row comes first: a checkpoint says that all before it is written.
            directory.append_evaluation(row)
            save_checkpoint(directory.checkpoint, trainer)
            on_event(Evaluated(row))
    return _result(run, trainer, evaluator)


def _out_of_memory(run: Plan) -> DitbenchError:
    config = run.config
    return DitbenchError(
        f"{run.device} ran out of memory: batch size {config.train.batch_size} in training, "
        f"{config.eval.batch_size} in sampling, {config.train.precision}",
        f"lower one: --batch-size {max(1, config.train.batch_size // 2)} or "
        f"--set eval.batch_size={max(1, config.eval.batch_size // 2)}",
        EXIT_FAILED,
    )


def model_size(config: RunConfig) -> ModelSize:
    """The size that a configuration asks for."""
    model = config.model
    return ModelSize(model.hidden_size, model.depth, model.num_heads, model.patch_size)


def build_model(
    config: RunConfig, dataset: ImageDataset, objective: Objective, device: torch.device
) -> DiT:
    """The initialised model of a run, for its images and objective.

    It is built without weights and filled once: torch's own initialisation, which would draw from
    the global stream, never runs.
    """
    with torch.device("meta"):
        model = DiT(
            config.block,
            model_size(config),
            height=dataset.height,
            width=dataset.width,
            channels=dataset.channels,
            out_channels=objective.output_channels(dataset.channels),
            num_classes=dataset.num_classes,
            mlp_ratio=config.model.mlp_ratio,
        )
    model.to_empty(device="cpu")
    model.initialize(config.seed)
    return model.to(device)


def create_configured_objective(config: RunConfig) -> Objective:
    """The objective that a configuration asks for."""
    options = config.objective.model_dump(exclude={"name"}, exclude_none=True)
    return create_objective(config.objective.name, **options)


def _check_data(config: RunConfig, dataset: ImageDataset) -> None:
    """Refuse data that are not those of the configuration, or too many classes for its samples."""
    if config.data.digest not in ("auto", dataset.digest):
        raise DitbenchError(
            f"the images of '{dataset.name}' are not those that this configuration was made for",
            "leave data.digest out of the configuration for a run on other images",
        )
    if config.eval.samples < dataset.num_classes:
        raise DitbenchError(
            f"eval.samples = {config.eval.samples} is fewer than the {dataset.num_classes} classes",
            f"pass --set eval.samples={dataset.num_classes} or more",
        )


def _resolve(
    config: RunConfig, dataset: ImageDataset, objective: Objective, device: torch.device
) -> RunConfig:
    """Replace every `auto`, so that the fingerprint says what happens; check the sampler."""
    asked = None if config.eval.sampler == "auto" else config.eval.sampler
    return config.with_values(
        data__digest=dataset.digest,
        train__precision=environment.resolve_precision(config.train.precision, device),
        eval__sampler=objective.check_sampling(asked, config.eval.sampling_steps),
    )


def _scorer(run: Plan) -> Scorer:
    # Imported late: torchmetrics takes seconds to import, and a dry run does not need it.
    from ditbench.metrics.score import Scorer

    extractor = create_extractor(
        run.config.metrics.features, run.dataset, run.config.metrics.inception_weights, run.device
    )
    return Scorer(extractor, real_statistics(run.dataset, extractor, run.device), run.device)


def _cost_table(run: Plan) -> dict[str, Any]:
    return {
        **run.cost.as_dict(),
        "train_flops_per_image": run.cost.train_flops_per_image,
        "train_flops": run.train_flops,
    }


def _evaluate(
    run: Plan, evaluator: Evaluator, trainer: Trainer, due: EvaluationDue
) -> dict[str, Any]:
    """Evaluate, write the sample grid, and return the row of eval.csv."""
    evaluation = evaluator(trainer.ema.model)
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
        "train_flops": run.cost.train_flops_per_image * due.images,
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
    classes = list(range(min(run.dataset.num_classes, GRID_COLUMNS)))
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
        "train_flops": run.train_flops,
        "train_seconds": trainer.seconds,
        "eval_seconds": sum(row["eval_seconds"] for row in rows),
        "steps_per_second": trainer.step / trainer.seconds,
        "samples_per_second": len(rows) * run.config.eval.samples / sampling_seconds,
        "peak_memory_bytes": environment.peak_memory_bytes(run.device),
        "device": environment.device_name(run.device),
        "final": rows[-1],
    }
