import warnings

import pytest
import torch
from scoring import score
from torchmetrics.image.inception import InceptionScore as Peer
from toy_extractor import random_images

from ditbench.metrics.metric import GivenFeatures
from ditbench.metrics.scores.inception_score import INCEPTION_SCORE


def test_it_is_torchmetrics_with_one_split(toy):
    fake = random_images(301, 1)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # it keeps all features
        peer = Peer(GivenFeatures(4), splits=1)
        peer.update(toy(fake).logits.double())
        expected, _ = peer.compute()
    found = score(INCEPTION_SCORE, toy, random_images(50, 2), fake)
    assert found == pytest.approx(float(expected), rel=1e-12)
    assert found > 1.01


def test_its_bounds(digits, classifier):
    one_class = digits.images[digits.labels == 3]
    same = one_class[:1].expand(9, -1, -1, -1)
    assert score(INCEPTION_SCORE, classifier, digits.images, same) == pytest.approx(1)
    of_all = score(INCEPTION_SCORE, classifier, digits.images, digits.images)
    of_one = score(INCEPTION_SCORE, classifier, digits.images, one_class)
    assert 9 < of_all <= 10
    assert 1 < of_one < 1.2
