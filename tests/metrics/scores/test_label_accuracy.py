import pytest
import torch
from scoring import comparison_of, feed, scorer_of
from torchmetrics.classification import MulticlassAccuracy
from toy_extractor import random_images

from ditbench.metrics.scores.label_accuracy import LABEL_ACCURACY


def test_label_accuracy_of_real_digits_is_the_classifiers(digits, classifier):
    scorer = scorer_of(classifier, digits.images)
    found = feed(scorer, digits.images, digits.labels).compute()
    right = (classifier(digits.images).logits.argmax(1) == digits.labels).float().mean().item()
    assert found["label_accuracy"] == pytest.approx(right)
    assert right > 0.99
    assert found["fid"] == pytest.approx(0, abs=1e-3)


def test_label_accuracy_is_torchmetrics_to_the_last_digit(toy):
    logits = toy(random_images(301, 1)).logits
    labels = torch.arange(301) % 4
    peer = MulticlassAccuracy(4, average="micro")
    comparison = comparison_of(toy, random_images(2, 1))
    for part, wanted in zip(logits.split(64), labels.split(64), strict=True):
        comparison.add(part.double(), part, wanted)
        peer.update(part.argmax(1), wanted)
    own = LABEL_ACCURACY.compute(comparison)
    assert 0 < own < 1
    assert own == float(peer.compute())
