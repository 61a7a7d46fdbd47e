"""Plans of runs: configurations checked against everything that they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from ditbench.data import load_dataset
from ditbench.errors import DitbenchError
from ditbench.files import read_json
from ditbench.metrics import extractor_class
from ditbench.models.cost import Cost, count
from ditbench.models.dit import DiT
from ditbench.models.ops import PLAIN, Ops
from ditbench.objectives import create_objective
from ditbench.plugins.lookup import (
    block_errors,
    check_block,
    check_options,
    external_block,
    find_block,
    own_options,
)
from ditbench.rundir import SWEEP, RunDirectory
from ditbench.runs.environment import device_name, resolve_precision
from ditbench.training.backend import BACKENDS, PLAIN_BACKEND, Backend, choose
from ditbench.training.budget import REHEARSAL, create_budget
from ditbench.training.graph import WARM_UP
from ditbench.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ditbench.config import RunConfig
    from ditbench.data.dataset import ImageDataset
    from ditbench.objectives.base import Objective
    from ditbench.training.budget import Budget


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a run before it trains."""

    config: RunConfig  # without `auto`, see `resolve`
    directory: RunDirectory
    cost: Cost
    dataset: ImageDataset
    objective: Objective
    device: torch.device
    budget: Budget
    backend: Backend = PLAIN_BACKEND
    begun: str | None = None  # the backend that a run to be resumed was begun with
    # Further entries of env.json: the origin of a learning rate, or a sweep.
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """A name that is unique among the runs of one command."""
        rate = f" lr {self.config.train.lr:g}" if SWEEP in self.notes else ""
        return f"{self.config.block}{rate} seed {self.config.seed}"

    @property
    def rehearsal(self) -> int:
        """The updates of a discarded model that precede training, which are not timed."""
        # On a GPU the steps become a CUDA graph.
        first = WARM_UP + 1 if self.device.type == "cuda" else int(self.backend.compiles)
        return max(first, REHEARSAL if self.budget.steps is None else 0)

    def train_flops(self, steps: int) -> float:
        """The floating-point operations of training: 3 x forward MACs x 2 x images."""
        return self.cost.train_flops_per_image * (steps * self.config.train.batch_size)


def plan_all(
    configs: list[RunConfig],
    out: Path,
    device: torch.device,
    settle: Callable[[list[RunConfig]], list[RunConfig]] = list,
) -> list[Plan]:
    """Check configurations against everything that they name. Nothing is written.

    Args:
        configs: one per run; runs on the same images share them.
        out: the parent of the run directories.
        device: where to train.
        settle: a last change of the configurations, in which no `auto` is left.

    Raises:
        DitbenchError: an unknown name; an option that no block has; settings that do not fit the
            data or each other; a backend that does not work on this machine.
    """
    read = cache(load_dataset)
    parts = []
    for config in configs:
        check_options([each.block for each in configs], config.model.size, config.options)
        dataset = read(config.data.name, config.data.path)
        _check_data(config, dataset)
        extractor_class(config.metrics.features, dataset)
        objective = build_objective(config)
        parts.append((resolve(config, dataset, objective, device), dataset, objective))
    settled = settle([config for config, _, _ in parts])
    costs: dict[str, Cost] = {}
    plans = []
    for config, (_, dataset, objective) in zip(settled, parts, strict=True):
        fingerprint = config.fingerprint
        if fingerprint not in costs:  # seeds share it
            costs[fingerprint] = count_cost(config, dataset, objective)
        cost = costs[fingerprint]
        directory = RunDirectory.of(out, config.preset, config.block, config.seed, fingerprint)
        budget = create_budget(config, cost)
        begun = begun_backend(directory, config, device)
        # A complete run needs no backend, and none is looked for.
        complete = directory.is_complete()
        backend = PLAIN_BACKEND if complete else choose_backend(config, device, begun)
        run = Plan(config, directory, cost, dataset, objective, device, budget, backend, begun)
        plans.append(run)
    return plans


def choose_backend(config: RunConfig, device: torch.device, begun: str | None = None) -> Backend:
    """The backend of a run; see `choose`."""
    train = config.train
    return choose(train.backend, find_block(config.block), train.precision, device, begun)


def begun_backend(directory: RunDirectory, config: RunConfig, device: torch.device) -> str | None:
    """The backend in env.json of a run that has a checkpoint, made on a device of this name."""
    if not directory.checkpoints or not directory.environment.is_file():
        return None
    try:
        facts = read_json(directory.environment)
    except DitbenchError:  # a damaged env.json does not prevent a run from being resumed
        return None
    if facts.get("device") != device_name(device):
        return None
    if facts.get("backend") in BACKENDS[1:]:
        return str(facts["backend"])
    # Earlier versions recorded only `compiled`, and used kernels on a GPU in bf16.
    if facts.get("compiled") is True:
        return "compile"
    return "kernels" if device.type == "cuda" and config.train.precision == "bf16" else "plain"


def build_trainer(run: Plan) -> Trainer:
    """A trainer of a planned run, at step 0."""
    config, objective, dataset, device = run.config, run.objective, run.dataset, run.device
    model = build_model(config, dataset, objective, device, run.backend.ops)
    return Trainer(config, model, objective, dataset, device, run.budget, backend=run.backend)


def _check_data(config: RunConfig, dataset: ImageDataset) -> None:
    """Raise a DitbenchError unless the configuration was made for these data and fits them."""
    if config.data.digest not in ("auto", dataset.digest):
        raise DitbenchError(
            f"the images of '{dataset.name}' differ from those this configuration was made for",
            "remove data.digest from the configuration to train on other images",
        )
    if config.train.batch_size > len(dataset):
        raise DitbenchError(
            f"batch size {config.train.batch_size} is larger than the data ({len(dataset)} images)",
            f"pass --batch-size {len(dataset)} or less",
        )
    if config.eval.samples < dataset.num_classes:
        raise DitbenchError(
            f"eval.samples = {config.eval.samples} is fewer than the {dataset.num_classes} classes",
            f"pass --set eval.samples={dataset.num_classes} or more",
        )


def resolve(
    config: RunConfig, dataset: ImageDataset, objective: Objective, device: torch.device
) -> RunConfig:
    """Replace every `auto`, so that the fingerprint covers what is done; check the sampler.

    Of the options, those of the block are kept; its defaults, and the location and the digest of an
    external block, are added.
    """
    asked = None if config.eval.sampler == "auto" else config.eval.sampler
    external = external_block(config.block)
    return config.with_values(
        block=check_block(config.block),
        strategy={"location": external.location, "sha256": external.sha256} if external else {},
        data__digest=dataset.digest,
        options=own_options(config.block, config.model.size, config.options),
        train__precision=resolve_precision(config.train.precision, device),
        eval__sampler=objective.check_sampling(asked, config.eval.sampling_steps),
    )


def model_arguments(
    config: RunConfig, dataset: ImageDataset, objective: Objective
) -> dict[str, Any]:
    """The arguments of both `DiT` and `cost.count` for a run."""
    return {
        "block": find_block(config.block),
        "size": config.model.size,
        "height": dataset.height,
        "width": dataset.width,
        "channels": dataset.channels,
        "out_channels": objective.output_channels(dataset.channels),
        "num_classes": dataset.num_classes,
        "mlp_ratio": config.model.mlp_ratio,
        "options": config.options,
        **config.model.switches,
    }


def count_cost(config: RunConfig, dataset: ImageDataset, objective: Objective) -> Cost:
    """The cost of the model of a run. Raises a DitbenchError if it cannot be built."""
    with block_errors(config.block):
        return count(**model_arguments(config, dataset, objective))


def build_model(
    config: RunConfig,
    dataset: ImageDataset,
    objective: Objective,
    device: torch.device,
    ops: Ops = PLAIN,
) -> DiT:
    """The initialised model of a run."""
    with torch.device("meta"):  # torch's own initialisation draws from the global generator
        model = DiT(**model_arguments(config, dataset, objective), ops=ops)
    model.to_empty(device="cpu")
    model.initialize(config.seed)
    return model.to(device)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a run."""
    options = config.objective.model_dump(exclude={"name"}, exclude_none=True)
    return create_objective(config.objective.name, **options)
