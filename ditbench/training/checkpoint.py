"""Checkpoints: the state of a trainer in one safetensors file with a checksum."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ditbench.data.io.tensors import digest_of
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import check_utf8
from ditbench.models.dit import DiT
from ditbench.rundir import RunDirectory
from ditbench.training.trainer import Trainer

# Between two checkpoints, in seconds; more if writing one would take more than this share of time.
SECONDS_BETWEEN = 60.0
SHARE_OF_TIME = 0.02

# Incremented when older versions would misread the file.
SCHEMA = 1

Tensors = dict[str, Tensor]
Counters = dict[str, Any]


def save_checkpoint(directory: RunDirectory, trainer: Trainer) -> None:
    """Write model, EMA, optimizer, generators, step and clock as the latest checkpoint."""
    state = {name: value.detach().cpu().contiguous() for name, value in _state(trainer).items()}
    facts = {"schema": SCHEMA, "run": _identity(trainer), **trainer.counters()}
    counters = json.dumps(facts, sort_keys=True)
    metadata = {"counters": counters, "sha256": digest_of(state, counters)}
    directory.write_checkpoint(save(state, metadata=metadata))


class Saver:
    """Saves a trainer, at intervals that keep the cost low; in a world, the first process does."""

    def __init__(self, directory: RunDirectory, trainer: Trainer) -> None:
        self.directory, self.trainer = directory, trainer
        self.saved, self.pause = time.monotonic(), SECONDS_BETWEEN

    def save(self) -> None:
        """Save now."""
        if not self.trainer.world.first:
            return
        started = time.monotonic()
        save_checkpoint(self.directory, self.trainer)
        self.saved = time.monotonic()
        self.pause = max(SECONDS_BETWEEN, (self.saved - started) / SHARE_OF_TIME)

    def save_if_due(self) -> None:
        """Save if the last checkpoint is old enough."""
        if time.monotonic() - self.saved >= self.pause:
            self.save()


def resume(directory: RunDirectory, trainer: Trainer, on_damage: Callable[[str], None]) -> bool:
    """Restore a trainer at step 0, and the tables of its run, from the latest readable checkpoint.

    `on_damage` receives a line of text for each checkpoint that was skipped. Returns whether there
    was a checkpoint. A DitbenchError (exit code 1) if none is usable or the tables lack rows of it.
    """
    reasons = []
    for path in directory.checkpoints:
        try:
            _restore(trainer, path, _identity(trainer))
            directory.check_tables(trainer.logged, trainer.evaluations)
        except DitbenchError as error:
            reasons.append(error.message)
            continue
        for reason in reasons:
            on_damage(f"{reason}; resuming from the previous one, of step {trainer.step}")
        directory.keep_checkpoint(path)
        directory.rewind(trainer.logged, trainer.evaluations)
        return True
    if reasons:
        what = "; ".join(reasons)
        raise DitbenchError(what, "move the run directory away and run it again", EXIT_FAILED)
    return False


def restore_from(directory: RunDirectory, trainer: Trainer, run: str) -> None:
    """Restore a trainer at step 0 from the latest checkpoint of another run, see `identity`.

    A DitbenchError (exit code 1) if it is damaged or of a third run.
    """
    try:
        _restore(trainer, directory.checkpoint, run)
    except DitbenchError as error:
        error.exit_code = EXIT_FAILED
        raise


def load_ema(path: Path, model: DiT) -> int:
    """Load the averaged weights of a checkpoint; returns their step.

    A DitbenchError if the file is not a checkpoint of such a model.
    """
    tensors, counters = read_checkpoint(path)
    with _damage_named(path):
        _load_weights(model, _below("ema.", tensors))
        return int(counters["step"])


def _load_weights(model: nn.Module, weights: Tensors) -> None:
    """Load weights; refuse other types, which torch would convert silently."""
    for name, value in model.state_dict().items():
        if name in weights and weights[name].dtype != value.dtype:
            raise ValueError(f"{name} is {weights[name].dtype}, not {value.dtype}")
    model.load_state_dict(weights)


def read_checkpoint(path: Path) -> tuple[Tensors, Counters]:
    """The tensors and counters of a checkpoint; a DitbenchError if it is damaged."""
    check_utf8(path)  # safetensors opens no other
    with _damage_named(path):
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        text = metadata["counters"]
        counters = json.loads(text)
        if counters["schema"] != SCHEMA:
            raise ValueError(f"it has schema {counters['schema']!r}, this version reads {SCHEMA}")
        if digest_of(tensors, text) != metadata["sha256"]:
            raise ValueError("its checksum does not match its contents")
        return tensors, counters


def checkpoint_digest(path: Path) -> str:
    """The checksum in a checkpoint, whose contents are not read; a DitbenchError without one."""
    check_utf8(path)
    with _damage_named(path), safe_open(path, framework="pt", device="cpu") as file:
        return str((file.metadata() or {})["sha256"])


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raise a DitbenchError that names the file and what is wrong with it."""
    try:
        yield
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise DitbenchError(
            f"{path} is not a checkpoint of this run: {reason}",
            "copy the file again from where it is whole, or move the run directory away and run "
            "it again",
        ) from error


def _state(trainer: Trainer) -> Tensors:
    parts = {"model": trainer.model.state_dict(), "ema": trainer.ema.model.state_dict()}
    for index, weight in enumerate(trainer.parameters):
        parts[f"optimizer.{index}"] = trainer.optimizer.state.get(weight, {})
    generators = {"noise": trainer.noise, "dropout": trainer.dropout}
    parts["generator"] = {name: each.get_state() for name, each in generators.items()}
    tensors = {"loss_sum": trainer.loss_sum, "skipped": trainer.sentinel.count}
    for part, state in parts.items():
        tensors |= {f"{part}.{name}": value for name, value in state.items()}
    return tensors


def identity(fingerprint: str, seed: int) -> str:
    """Identifies a run: tensors of other runs may have the same names and shapes."""
    return f"{fingerprint}/{seed}"


def _identity(trainer: Trainer) -> str:
    return identity(trainer.config.fingerprint, trainer.config.seed)


def _restore(trainer: Trainer, path: Path, run: str) -> None:
    tensors, counters = read_checkpoint(path)
    with _damage_named(path):
        if counters["run"] != run:
            raise ValueError("it belongs to another run")
        _load_weights(trainer.model, _below("model.", tensors))
        _load_weights(trainer.ema.model, _below("ema.", tensors))
        for index, weight in enumerate(trainer.parameters):
            state = _below(f"optimizer.{index}.", tensors)
            # AdamW keeps its moments, and if fused its step counter, on the device of the weight.
            trainer.optimizer.state[weight] = {
                name: value.to(weight.device) for name, value in state.items()
            }
        trainer.noise.set_state(tensors["generator.noise"])
        trainer.dropout.set_state(tensors["generator.dropout"])
        trainer.loss_sum.copy_(tensors["loss_sum"])
        trainer.sentinel.count.copy_(tensors["skipped"])
        trainer.restore_counters(counters)


def _below(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names have a prefix, without it."""
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}
