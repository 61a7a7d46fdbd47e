import contextlib
import io

import pytest
import torch
from prdc import compute_prdc
from scoring import comparison_of, feed, scorer_of
from toy_extractor import random_images

from ditbench.metrics import metric as metric_module
from ditbench.metrics import pairs
from ditbench.metrics import real as real_module
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scores import neighbours as module

NAMES = ("precision", "recall", "density", "coverage")


def peer(real, fake):
    with contextlib.redirect_stdout(io.StringIO()):
        return compute_prdc(real.double().numpy(), fake.double().numpy(), nearest_k=5)


@pytest.mark.parametrize("high", [256, 230, 120])
@pytest.mark.parametrize("chunk", [2**22, 1000])
def test_all_four_are_those_of_prdc(toy, high, chunk, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK", chunk)
    real, fake = random_images(300, 1), random_images(200, 2, high)
    found = feed(scorer_of(toy, real), fake).compute()
    expected = peer(toy(real).features, toy(fake).features)
    assert {name: found[name] for name in NAMES} == pytest.approx(expected, abs=1e-12)
    assert high == 120 or 0 < found["recall"] < 1


def test_only_the_subset_of_the_real_images_counts(toy, monkeypatch):
    monkeypatch.setattr(real_module, "MAX_SUBSET", 100)
    monkeypatch.setattr(metric_module, "MAX_SUBSET", 100)
    real, fake = random_images(300, 1), random_images(200, 2, 230)
    scorer = feed(scorer_of(toy, real), fake)
    expected = peer(compute_statistics(real, toy).rows[:100], toy(fake).features)
    found = scorer.compute()
    assert {name: found[name] for name in NAMES} == pytest.approx(expected, abs=1e-12)
    assert scorer.describe(200)["recall"] == {"real_images": 100, "neighbours": 5}


def test_distances_are_computed_once_an_evaluation(toy, monkeypatch):
    calls = []
    compute = module.kth_distances
    monkeypatch.setattr(module, "kth_distances", lambda *args: calls.append(0) or compute(*args))
    scorer = feed(scorer_of(toy, random_images(300, 1)), random_images(200, 2))
    first = scorer.compute()
    assert len(calls) == 1
    feed(scorer, random_images(200, 3, 100))  # more samples: another result
    assert scorer.compute()["precision"] < first["precision"]
    assert len(calls) == 2


def test_lost_classes_lower_coverage_and_recall_only(digits, classifier):
    half, other = digits.images[::2], digits.images[1::2]
    few = other[digits.labels[1::2] < 3]
    full, lost = (
        feed(scorer_of(classifier, half), images).compute() for images in (other[: len(few)], few)
    )
    assert lost["coverage"] < 0.5 * full["coverage"]
    assert lost["recall"] < 0.5 * full["recall"]
    assert lost["precision"] > 0.9


def test_results_are_not_kept_for_more_samples(toy):
    comparison = comparison_of(toy, random_images(300, 1))
    comparison.add(torch.zeros(2, 12, dtype=torch.float64), None, torch.zeros(2))
    assert comparison.once(lambda c: len(c.features)) == 2

    def count(c):
        return len(c.features)

    assert comparison.once(count) == 2
    comparison.add(torch.zeros(3, 12, dtype=torch.float64), None, torch.zeros(3))
    assert comparison.once(count) == 5
