"""Short runs on a GPU."""

from pathlib import Path

import pytest
import torch

from ditbench.config import load
from ditbench.runs.planning.plan import plan_all

ON_A_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
OVERRIDES = {"budget.steps": 20, "eval.points": 2, "eval.samples": 40, "eval.sampling_steps": 3}


def make_plan(out, device="cuda", **values):
    given = {key.replace("__", "."): value for key, value in values.items()}
    overrides = dict(OVERRIDES)
    if any(key.startswith("budget.") for key in given):  # one budget only
        del overrides["budget.steps"]
    config = load("digits", overrides=overrides | given)
    return plan_all([config], Path(out), torch.device(device))[0]
