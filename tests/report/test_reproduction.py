"""Verdicts on a run that was trained again."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ditbench.files import write_json
from ditbench.report.reading.metrics import FIRST_METRICS
from ditbench.report.reproduction import LEVEL, judge, noise_of
from ditbench.rundir import RunDirectory

FID, KID, _ = FIRST_METRICS
FIDS = {0: 8.0, 1: 9.0, 2: 7.5}  # of the recorded seeds
AGAIN = "../again"  # beside the recorded results
SETTINGS = {"train__precision": "fp32", "objective__name": "ddpm"}


@pytest.fixture
def recorded(make_run):
    """Three seeds of two blocks; the run of seed 0 of the first one is to be repeated."""
    for block, shift in (("adaln-zero", 1.0), ("adaln", 1.4)):
        for seed, fid in FIDS.items():
            run = make_run(block, seed, (90.0, fid * shift), **SETTINGS)
    return next(run.path.parents[1].glob("adaln-zero/seed0-*"))


@pytest.fixture
def verdict(recorded, make_run):
    """The verdict on the run of seed 0, for a repetition of this final FID and loss."""

    def judged(fid=8.0, first=90.0, group=True, **facts):
        own = make_run("adaln-zero", 0, (first, fid), name=AGAIN, **SETTINGS | facts)
        places = [recorded.parents[1]] if group else []
        return judge(RunDirectory(recorded), own, places)

    return judged


def test_equal_in_every_number(verdict):
    found = verdict(rate=11.0)  # the speed is no number of the result
    assert (found.kind, found.agrees, found.first_difference) == ("equal", True, None)
    assert found.loss_difference == 0
    assert found.sentence == (
        "adaln-zero, seed 0: equal. FID-2K 8.00, like every loss and every other metric."
    )


@pytest.mark.parametrize("change", [{"first": 90.00001}, {"loss": 0.100001}, {"fid": 8.0001}])
def test_one_number_that_differs_a_little_is_rounding(verdict, change):
    found = verdict(**change)
    assert (found.kind, found.agrees) == ("rounding", True)
    assert found.first_difference == (1200 if "loss" in change else None)
    assert ("equal losses" in found.sentence) == ("loss" not in change)


def test_rounding_is_coarser_in_bf16_only(verdict):
    assert verdict(fid=8.05).kind == "noise"
    assert verdict(loss=0.1005).kind == "noise"


def test_noise_is_that_of_seeds(verdict):
    # Both blocks have the same ratios between seeds.
    logs = np.log([*FIDS.values()])
    limit = stats.t.ppf(0.975, 4) * math.sqrt(2) * logs.std(ddof=1)
    near, far = 8 * math.exp(0.99 * limit), 8 * math.exp(1.01 * limit)
    found = verdict(fid=near)
    assert (found.kind, found.agrees, found.seeds) == ("noise", True, 6)
    assert "two seeds of a block differ by up to 44% (95%, from 6 runs)." in found.sentence
    assert verdict(fid=8 * math.exp(-0.99 * limit)).kind == "noise"
    found = verdict(fid=far)
    assert (found.kind, found.agrees) == ("different", False)
    assert "does not agree. FID-2K 8.00 recorded" in found.sentence
    assert verdict(fid=8 * math.exp(-1.01 * limit)).kind == "different"  # better is no agreement


def test_without_two_seeds_nothing_says_how_far_seeds_are_apart(verdict):
    found = verdict(fid=8.5, group=False)
    assert (found.kind, found.agrees, found.seeds) == ("unknown", False, 0)
    assert "no block has runs of two seeds" in found.sentence
    assert verdict(group=False).kind == "equal"


def test_metrics_of_other_images_are_not_compared(verdict):
    found = verdict(dataset_digest="e" * 64)
    assert (found.kind, found.agrees, found.metrics) == ("unknown", False, [])
    assert "cannot be judged" in found.sentence


def test_few_images_are_judged_by_kid(make_run):
    few = {**SETTINGS, "metrics__features": "inception", "real_images": 100}
    for seed, kid in enumerate((1.0, 1.2, 0.9)):
        last = make_run("adaln", seed, (30.0,), kid=kid, **few)
    own = next(last.path.parent.glob("seed0-*"))
    limit = stats.t.ppf(0.975, 2) * math.sqrt(2) * np.std([1.0, 1.2, 0.9], ddof=1)
    for kid, kind in ((1 + 0.99 * limit, "noise"), (1 + 1.01 * limit, "different")):
        again = make_run("adaln", 0, (30.0,), kid=kid, name=AGAIN, **few)
        found = judge(RunDirectory(own), again, [own.parents[1]])
        assert (found.decided_by, found.kind) == ("kid", kind)


def test_what_differs_leaves_out_what_was_not_recorded(recorded, make_run):
    again = make_run("adaln-zero", 0, (90.0, 8.0), name=AGAIN, **SETTINGS)
    facts = {"python": "3.12", "backend": "plain", "reproduces": {"path": "elsewhere"}}
    write_json(again.environment, facts)
    result = json.loads(again.result.read_text()) | {"schema": 1}  # without hashes
    write_json(again.result, result)
    (row,) = judge(RunDirectory(recorded), again).environment
    assert row == {"source": "environment", "key": "python", "a": "3.11", "b": "3.12"}


def frame(values):
    """Rows of runs of blocks a, b, ... from (B, S) final values."""
    return pd.DataFrame(
        {"block": name, "fid": value}
        for name, row in zip("abcd", values, strict=False)
        for value in row
    )


def test_two_new_seeds_are_within_the_limit_as_often_as_said():
    random = np.random.default_rng(0)
    hits = []
    for _ in range(800):
        logs = random.normal(np.array([[0.0], [1.0], [2.0]]), 0.1, (3, 4))
        one, other = random.normal(0, 0.1, 2)
        hits.append(abs(one - other) <= noise_of(frame(np.exp(logs)), FID).limit)
    assert np.mean(hits) == pytest.approx(LEVEL, abs=0.025)


def test_noise_needs_two_runs_of_a_block_and_a_logarithm():
    assert noise_of(frame([[3.0], [4.0]]), FID) is None
    assert noise_of(frame([[3.0, -1.0]]), FID) is None
    assert noise_of(frame([[3.0, 4.0]]), KID) is None  # no column of that name
