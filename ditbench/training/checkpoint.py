"""Checkpoints: a trainer's whole state in one safetensors file, no pickle."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ditbench.errors import DitbenchError
from ditbench.rundir import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ditbench.models.dit import DiT
    from ditbench.training.train import Trainer


def save_checkpoint(path: Path, trainer: Trainer) -> None:
    """Write model, EMA, optimizer, generators, step and clocks atomically."""
    tensors: dict[str, Tensor] = {}
    for prefix, module in (("model", trainer.model), ("ema", trainer.ema.model)):
        tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
    for index, weight in enumerate(trainer.parameters):
        state = trainer.optimizer.state.get(weight, {})
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["generator.noise"] = trainer.noise.get_state()
    tensors["generator.dropout"] = trainer.dropout.get_state()
    tensors["loss_sum"] = trainer.loss_sum
    counters = {
        "step": trainer.step,
        "seconds": trainer.seconds,
        "evaluations": trainer.evaluations,
        "loss_count": trainer.loss_count,
    }
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    payload = save(contiguous, metadata={"counters": json.dumps(counters)})
    write_atomically(path, lambda file: file.write(payload))


def load_checkpoint(path: Path, trainer: Trainer) -> None:
    """Bring a trainer of the same configuration to the state that was saved.

    Raises:
        DitbenchError: when the file is not a checkpoint of such a trainer.
    """
    with _read(path) as (tensors, counters):
        trainer.model.load_state_dict(_below("model.", tensors))
        trainer.ema.model.load_state_dict(_below("ema.", tensors))
        _load_optimizer(trainer, _below("optimizer.", tensors))
        trainer.noise.set_state(tensors["generator.noise"])
        trainer.dropout.set_state(tensors["generator.dropout"])
        trainer.loss_sum.copy_(tensors["loss_sum"])
        trainer.step = int(counters["step"])
        trainer.stopwatch.seconds = float(counters["seconds"])
        trainer.evaluations = int(counters["evaluations"])
        trainer.loss_count = int(counters["loss_count"])


def load_ema(path: Path, model: DiT) -> int:
    """Load the averaged weights of a checkpoint into a model; returns the step they are from.

    Raises:
        DitbenchError: when the file is not a checkpoint of such a model.
    """
    with _read(path) as (tensors, counters):
        model.load_state_dict(_below("ema.", tensors))
        return int(counters["step"])


def _load_optimizer(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    for index, weight in enumerate(trainer.parameters):
        state = _below(f"{index}.", tensors)
        # AdamW keeps its moments beside the weight, and its step counter there too when fused.
        trainer.optimizer.state[weight] = {
            name: value.to(weight.device) for name, value in state.items()
        }


@contextmanager
def _read(path: Path) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """A checkpoint's tensors and counters; what does not fit, in it or in the caller, is named."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            counters = json.loads((file.metadata() or {})["counters"])
        yield tensors, counters
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise DitbenchError(
            f"{path} is not a checkpoint of this run: {str(error).splitlines()[0]}",
            "remove the run directory and run it again",
        ) from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
