"""What a learning rate is tuned for, and how two of those differ."""

from __future__ import annotations

from ditbench.config.schema import RunConfig, flatten
from ditbench.report.words import name_and_value


def task_of(config: RunConfig) -> str:
    """What a learning rate is tuned for: all but rate, budget, number of evaluations and seed."""
    return _task(config).fingerprint


def differences(config: RunConfig, other: RunConfig) -> list[str]:
    """In what the task of the other configuration differs, in words: `batch size 64`."""
    own, others = flatten(_task(config).identity), flatten(_task(other).identity)
    keys = dict.fromkeys((*others, *own))
    return [name_and_value(key, others.get(key)) for key in keys if others.get(key) != own.get(key)]


def _task(config: RunConfig) -> RunConfig:
    return config.with_values(parent={}, train__lr=1.0, budget__steps=1, eval__points=1)
