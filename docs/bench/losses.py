"""The losses of the first steps on 1, 2, 4 ... GPUs, for one global batch: equal but for rounding.

    python docs/bench/losses.py --gpus 1,2,4,8 -o losses.json

The measure of rounding is the difference between bf16 and float32 on one GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ditbench.bench.synthetic import plan_on, random_images
from ditbench.config import load
from ditbench.models.sizes import parse_input, parse_model
from ditbench.processes import in_processes
from ditbench.runs.machine.environment import device_name, select_device
from ditbench.runs.planning.plan import build_model
from ditbench.training.trainer import Trainer
from ditbench.world import join

if TYPE_CHECKING:
    from ditbench.config import RunConfig


def work(
    send: Callable[[Any], None], config: RunConfig, shape: tuple[int, ...], device: str, steps: int
) -> None:
    """One of the processes. The first sends the device's name and the losses."""
    place = select_device(device)
    world = join(place)
    height, width, channels = shape
    images = random_images(height, width, channels, 10, least=config.train.batch_size)
    plan = plan_on(images, config, place)
    model = build_model(plan, plan.backend.ops)
    task = (plan.objective, plan.dataset, plan.device, plan.budget)
    trainer = Trainer(plan.config, model, *task, backend=plan.backend, world=world)
    losses = []
    for _ in range(steps):
        trainer.update()
        losses.append(trainer.loss_sum.clone())
        trainer.loss_sum.zero_()
    if world.first:
        send((device_name(place), [loss.item() for loss in losses]))


def difference(losses: Sequence[float], others: Sequence[float]) -> float:
    """The largest relative difference of two sequences of losses."""
    return max(abs(a / b - 1) for a, b in zip(losses, others, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpus", default="1,2", help="numbers of GPUs, the first is 1")
    parser.add_argument("--model", default="S/4")
    parser.add_argument("--input", default="32x32x4")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    config = load(
        overrides={
            **{f"model.{key}": value for key, value in vars(parse_model(options.model)).items()},
            "objective.name": "ddpm",
            "budget.steps": 10**6,
            "train.batch_size": options.batch_size,
            "train.lr": 1e-4,
            "train.warmup": 0.0,
            "train.precision": "bf16",
        }
    )
    shape, device, steps = parse_input(options.input), options.device, options.steps
    runs = {number: (int(number), config) for number in options.gpus.split(",")}
    runs["float32"] = (1, config.with_values(train__precision="fp32"))
    name, losses = "", {}
    for key, (number, settings) in runs.items():
        ((name, losses[key]),) = in_processes(number, work, settings, shape, device, steps)
    found = {
        "device": name,
        "torch": torch.__version__,
        **{key: vars(options)[key] for key in ("model", "input", "batch_size", "steps")},
        "largest_relative_difference": {
            key: difference(each, losses["1"]) for key, each in losses.items()
        },
        "losses": losses,
    }
    for key, value in found["largest_relative_difference"].items():
        print(f"{key:>8}: loss {losses[key][-1]:.6f}, differs by at most {value:.1e}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
