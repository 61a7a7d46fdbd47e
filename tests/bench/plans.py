"""A tiny plan on random images, and a row of the benchmark."""

import torch

from ditbench.bench.adapters import OURS
from ditbench.bench.measure import Row
from ditbench.bench.synthetic import plan_on, random_images
from ditbench.config import load

CPU = torch.device("cpu")
TINY = {
    "model.hidden_size": 16,
    "model.depth": 2,
    "model.num_heads": 2,
    "objective.name": "ddpm",
    "train.batch_size": 8,
    "train.precision": "fp32",
    "eval.batch_size": 8,
    "eval.sampling_steps": 3,
}


def make_plan(height=8, width=8, channels=2, device=CPU, **values):
    overrides = TINY | {key.replace("__", "."): value for key, value in values.items()}
    config = load("digits", overrides=overrides)
    images = random_images(height, width, channels, 10, least=config.train.batch_size)
    return plan_on(images, config, device)


def rows(*blocks, **values):
    return [Row(block, make_plan(block=block, **values), OURS) for block in blocks]
