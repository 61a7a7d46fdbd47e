"""Plans of runs: configurations checked against everything that they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ditbench.config import RunConfig
from ditbench.data import load_dataset
from ditbench.data.dataset import ImageDataset
from ditbench.models.cost import Cost, count
from ditbench.models.dit import DiT
from ditbench.models.ops import PLAIN, Ops
from ditbench.objectives import create_objective
from ditbench.objectives.base import Objective
from ditbench.plugins.lookup import (
    block_errors,
    block_options,
    check_block,
    check_options,
    external_block,
    find_block,
)
from ditbench.rundir import SWEEP, RunDirectory
from ditbench.runs.directory.reopen import origin_of
from ditbench.runs.machine.environment import device_name, resolve_precision
from ditbench.runs.origins import init
from ditbench.runs.planning.features import choose_features
from ditbench.runs.planning.fit import check_effect, check_fit
from ditbench.runs.planning.task import Task
from ditbench.runs.scoring.labels import resolve_labels
from ditbench.runs.scoring.scored import digests
from ditbench.training.budget import REHEARSAL, Budget, create_budget
from ditbench.training.device.backend import BACKENDS, PLAIN_BACKEND, Backend, choose
from ditbench.training.device.graph import WARM_UP
from ditbench.training.device.precision import residual_type
from ditbench.training.device.recompute import recomputed
from ditbench.training.trainer import Trainer


@dataclass(frozen=True)
class Plan(Task):
    """Everything that is known of a run before it trains."""

    directory: RunDirectory
    cost: Cost
    budget: Budget
    backend: Backend = PLAIN_BACKEND
    begun: str | None = None  # the backend that a run to be resumed was begun with
    # Further entries of env.json: the origin of a learning rate or a width, or a sweep.
    notes: dict[str, Any] = field(default_factory=dict)
    trackers: tuple[str, ...] = ()  # that the run is logged to, see `events.trackers`

    @property
    def name(self) -> str:
        """What distinguishes the run from the others of one command, except for the seed."""
        rate = f" lr {self.config.train.lr:g}" if SWEEP in self.notes else ""
        return self.config.block + rate

    @property
    def label(self) -> str:
        """A name that is unique among the runs of one command."""
        return f"{self.name} seed {self.config.seed}"

    @property
    def rehearsal(self) -> int:
        """The updates of a discarded model that precede training, which are not timed."""
        # On a GPU the steps become a CUDA graph.
        first = WARM_UP + 1 if self.device.type == "cuda" else int(self.backend.compiles)
        return max(first, REHEARSAL if self.budget.steps is None else 0)

    def with_notes(self, notes: dict[str, Any]) -> Plan:
        """The same plan with further entries of env.json."""
        return replace(self, notes=self.notes | notes)

    def train_flops(self, steps: int) -> float:
        """The floating-point operations of training: 3 x forward MACs x 2 x images."""
        return self.cost.train_flops_per_image * (steps * self.config.train.batch_size)


def plan_all(configs: list[RunConfig], out: Path, device: torch.device) -> list[Plan]:
    """The plans of runs in directories below `out`; see `resolve_all` and `plan_run` for errors."""
    return plan_tasks(resolve_all(configs, device), out)


def resolve_all(
    configs: list[RunConfig], device: torch.device, read: Callable[..., ImageDataset] | None = None
) -> list[Task]:
    """Check configurations against everything that they name. Nothing is written.

    `read` loads data, by default `load_dataset`, once for all runs on the same images.

    Raises:
        DitbenchError: an unknown name; an option that no block has; settings that do not fit the
            data or each other.
    """
    read = read or cache(load_dataset)
    tasks = []
    for config in configs:
        check_options([each.block for each in configs], config.model.size, config.options)
        dataset = read(config.data.name, config.data.path, config.data.settings)
        check_fit(config, dataset)
        tasks.append(resolve(config, dataset, device))
    return tasks


def plan_tasks(tasks: list[Task], out: Path) -> list[Plan]:
    """The plans of tasks in directories below `out`; see `plan_run` for errors.

    If none of these runs has begun, a setting without effect is refused, see `check_effect`.
    """
    costs: dict[str, Cost] = {}
    notes: dict[str, dict[str, Any]] = {}
    plans = []
    for task in tasks:
        config, fingerprint = task.config, task.config.fingerprint
        if fingerprint not in costs:  # seeds share it
            costs[fingerprint] = count_cost(task)
            notes[fingerprint] = init.notes_of(config.init, model_arguments(task))
        directory = RunDirectory.of(out, config.preset, config.block, config.seed, fingerprint)
        plan = plan_run(task, directory, costs[fingerprint])
        plans.append(plan.with_notes(notes[fingerprint]))
    if not any(plan.directory.config.is_file() or plan.config.parent.path for plan in plans):
        for task in tasks:
            check_effect(task.config, task.dataset)
    return plans


def plan_run(task: Task, directory: RunDirectory, cost: Cost) -> Plan:
    """The plan of one run; see `create_budget` and `choose` for its errors."""
    begun = begun_backend(task, origin_of(task.config, directory))
    budget = create_budget(task.config, cost)
    backend = PLAIN_BACKEND
    if not directory.is_complete():  # a complete run needs no backend
        block, train = find_block(task.config.block), task.config.train
        backend = choose(train.backend, block, train.precision, task.device, begun)
    known = (task.config, task.dataset, task.objective, task.device)
    return Plan(*known, directory, cost, budget, backend, begun)


def begun_backend(task: Task, directory: RunDirectory) -> str | None:
    """The backend in env.json of a run that has a checkpoint, made on a device of this name."""
    facts = directory.facts() if directory.checkpoints else {}
    if facts.get("device") != device_name(task.device):
        return None
    if facts.get("backend") in BACKENDS[1:]:
        return str(facts["backend"])
    # Earlier versions recorded only `compiled`, and used kernels on a GPU in bf16.
    if facts.get("compiled") is True:
        return "compile"
    half = task.config.train.precision != "fp32"
    return "kernels" if task.device.type == "cuda" and half else "plain"


def build_trainer(run: Plan) -> Trainer:
    """A trainer of a planned run, at step 0."""
    task = (run.objective, run.dataset, run.device, run.budget)
    ops = run.backend.ops(run.config.train.precision)
    if run.config.train.checkpoint_blocks:
        ops = replace(ops, call=recomputed)
    model = build_model(run, ops)
    return Trainer(run.config, model, *task, backend=run.backend, world=run.world)


def resolve(config: RunConfig, dataset: ImageDataset, device: torch.device) -> Task:
    """Replace every `auto`, so that the fingerprint covers what is done; check the sampler.

    Of the options, those of the block are kept; its defaults, and the location and the digest of an
    external block, are added.
    """
    objective = build_objective(config)
    steps, final_steps = config.eval.sampling_steps, config.eval.final_sampling_steps
    clip, cfg_channels = config.eval.clip, config.eval.cfg_channels
    objective.check_sampling(config.eval.sampler, config.eval.steps_of_final)
    sampler = objective.check_sampling(config.eval.sampler, steps)
    external = external_block(config.block)
    resolved = config.with_values(
        block=check_block(config.block),
        strategy={"location": external.location, "sha256": external.sha256} if external else {},
        init=init.identified(config.init),
        data__digest=dataset.digest,
        **digests(config, dataset),
        metrics__features=choose_features(config)[0],
        options=block_options(config.block, config.model.size, config.options),
        train__precision=resolve_precision(config.train.precision, device),
        eval__sampler=sampler,
        eval__labels=resolve_labels(config.eval.labels, dataset),
        eval__final_sampling_steps=None if final_steps == steps else final_steps,
        eval__clip=None if clip is (dataset.latents is None) else clip,
        eval__cfg_channels=None if cfg_channels == dataset.channels else cfg_channels,
    )
    return Task(resolved, dataset, objective, device)


def model_arguments(task: Task) -> dict[str, Any]:
    """The arguments of both `DiT` and `cost.count`."""
    config, dataset = task.config, task.dataset
    return {
        "block": find_block(config.block),
        "size": config.model.size,
        "height": dataset.height,
        "width": dataset.width,
        "channels": dataset.channels,
        "out_channels": task.objective.output_channels(dataset.channels),
        "num_classes": dataset.num_classes,
        "mlp_ratio": config.model.mlp_ratio,
        "options": config.options,
        "residual": residual_type(config.train.precision),
        **config.model.switches,
    }


def count_cost(task: Task) -> Cost:
    """The cost of the model of a task. Raises a DitbenchError if it cannot be built."""
    with block_errors(task.config.block):
        return count(**model_arguments(task))


def build_model(task: Task, ops: Ops = PLAIN) -> DiT:
    """The initialised model of a task, on its device."""
    with torch.device("meta"):  # torch's own initialisation draws from the global generator
        model = DiT(**model_arguments(task), ops=ops)
    model.to_empty(device="cpu")
    model.initialize(task.config.seed)
    return model.to(task.device)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a run."""
    options = config.objective.model_dump(exclude={"name"}, exclude_none=True)
    # Only where they are set: an objective that does not have them refuses them.
    options |= config.eval.model_dump(include={"variance", "spacing"}, exclude_defaults=True)
    return create_objective(config.objective.name, **options)
