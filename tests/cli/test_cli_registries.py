"""A metric, an objective and a data set: a file and a line each, and every command knows them."""

import csv
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from ditbench.data import SOURCES
from ditbench.data.digits import load_digits
from ditbench.metrics import _METRICS
from ditbench.metrics.metric import Metric
from ditbench.objectives import OBJECTIVES
from ditbench.objectives.flow import Flow
from ditbench.seeds import normal_like

OPTIONS = ("--objective", "uniform", "--data", "mirrored", "--features", "digits",
           "--set", "metrics.extra=['spread']")  # fmt: skip


class Uniform(Flow):
    """Flow with uniform times."""

    name = "uniform"

    def draw(self, x, generator):
        return torch.rand(len(x), generator=generator), normal_like(x, generator)


def _spread(comparison):
    return float(comparison.features.std())


def _mirrored():
    digits = load_digits()
    return replace(digits, name="mirrored", images=digits.images.flip(3).contiguous())


FILES = {
    "ditbench.metrics.scores.spread": {
        "SPREAD": Metric("spread", "Spread", "higher", ".4f", _spread, unit="px")
    },
    "ditbench.objectives.uniform": {"Uniform": Uniform},
    "ditbench.data.mirrored": {"load": _mirrored},
}


@contextmanager
def lines():
    with pytest.MonkeyPatch.context() as patch:
        for name, contents in FILES.items():
            module = ModuleType(name)
            vars(module).update(contents)
            patch.setitem(sys.modules, name, module)
        patch.setitem(_METRICS, "spread", ("scores.spread", "SPREAD", False))
        patch.setitem(OBJECTIVES, "uniform", "Uniform")
        patch.setitem(SOURCES, "mirrored", ("mirrored", "load", "none"))
        yield


def test_a_file_and_a_line_are_enough(cli, succeed, tiny, elsewhere):
    with lines():
        result = succeed("run", "--block", "adaln,in-context", "--seeds", "2", *tiny, *OPTIONS)
        assert "mirrored, 8x8x1, 16x1x2/2, uniform, 20 steps" in result.stdout
        run = next(elsewhere.glob("results/mirrored/adaln/seed0-*"))
        succeed("sample", run, "-o", "grid.png")
        assert "Spread-40" in succeed("eval", run, "--sampling-steps", "2").stdout

    # Tables take the metric from result.json: they need none of the three.
    with (run / "eval.csv").open() as file:
        *_, last = csv.DictReader(file)
    assert f"{float(last['spread_40']):.4f}" in succeed("show", run).stdout
    table = succeed("compare", "--columns", "spread", "--format", "md").stdout
    assert "Spread-40 (px) ↑" in table
    assert "| adaln |" in table
    gate = cli("compare", "--fail-if", "spread < 1000")
    assert (gate.exit_code, gate.stderr.count("failed: ")) == (1, 2)
