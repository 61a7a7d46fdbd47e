import pytest
import torch
from scoring import score
from sklearn.neighbors import NearestNeighbors
from toy_extractor import random_images

from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scores.memorization import MEMORIZATION


def test_it_is_the_share_below_the_quantile(digits, classifier):
    real, fake = digits.images[::2], digits.images[1::2]
    x, y = (classifier(images).features.double().numpy() for images in (real, fake))
    search = NearestNeighbors(n_neighbors=1).fit(x)
    usual = torch.tensor(search.kneighbors()[0][:, 0]).quantile(0.01)
    expected = (search.kneighbors(y)[0][:, 0] <= float(usual)).mean()
    assert score(MEMORIZATION, classifier, real, fake) == pytest.approx(expected)
    assert 0 < expected < 0.03


def test_copies_among_new_images(toy):
    real, new = random_images(1000, 1), random_images(1000, 2)
    found = score(MEMORIZATION, toy, real, torch.cat([real[:250], new[:750]]))
    assert found == pytest.approx(0.25 + 0.01, abs=0.02)


def test_copies_count_where_real_images_have_copies_themselves(toy):
    real = torch.cat([random_images(300, 1)] * 2)
    assert compute_statistics(real, toy).nearest.max() == 0
    fake = torch.cat([real[:50], random_images(150, 2)])
    assert score(MEMORIZATION, toy, real, fake) == 0.25
