"""What a learning rate is tuned for."""

import pytest

from ditbench.config import RunConfig
from ditbench.report.reading.sweeps import differences, task_of

CONFIG = RunConfig().with_values(block="adaln")


@pytest.mark.parametrize(
    "same", [{"train__lr": 0.5}, {"budget__steps": 9999}, {"eval__points": 2}, {"seed": 7},
             {"preset": "mine"}, {"data__path": "elsewhere"}]
)  # fmt: skip
def test_a_sweep_fits_whatever_rate_budget_evaluations_seed_and_place(same):
    changed = CONFIG.with_values(**same)
    assert task_of(changed) == task_of(CONFIG)
    assert differences(CONFIG, changed) == []


@pytest.mark.parametrize(
    "other", [{"block": "in-context"}, {"train__batch_size": 64}, {"model__depth": 5},
              {"eval__samples": 500}, {"train__precision": "bf16"}, {"data__digest": "d"},
              {"objective__name": "ddpm"}, {"train__grad_clip": 1.0}]
)  # fmt: skip
def test_a_sweep_fits_nothing_else(other):
    changed = CONFIG.with_values(**other)
    assert task_of(changed) != task_of(CONFIG)
    ((key, value),) = other.items()
    assert differences(CONFIG, changed) == [f"{key.replace('__', '.')} {value}"]
