import numpy as np
import pytest
import torch
from scoring import feed, score, scorer_of, unbiased_mmd
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from toy_extractor import random_images

from ditbench.metrics import real as real_module
from ditbench.metrics.real import compute_statistics
from ditbench.metrics.scores import kid as module
from ditbench.metrics.scores.kid import KID, SUBSET_KID


@pytest.mark.parametrize("high", [256, 200])
def test_kid_is_the_unbiased_estimate_over_all_pairs(toy, high):
    real, fake = random_images(300, 1), random_images(200, 2, high)
    x, y = toy(real).features.numpy(), toy(fake).features.numpy()
    assert score(KID, toy, real, fake) == pytest.approx(unbiased_mmd(x, y), rel=1e-9)


def test_kid_is_torch_fidelitys_with_one_subset_of_everything(toy):
    real, fake = random_images(200, 1), random_images(200, 2, 220)
    x, y = toy(real).features.double(), toy(fake).features.double()
    peer = kid_features_to_metric(x, y, kid_subsets=1, kid_subset_size=200, verbose=False)
    assert score(KID, toy, real, fake) == pytest.approx(peer[KEY_METRIC_KID_MEAN], rel=1e-9)


def test_kid_of_real_images_is_0_on_average(toy):
    """Unbiased: far from each other by chance, the estimates are to both sides of 0."""
    real = random_images(500, 1)
    found = [score(KID, toy, real, random_images(100, seed)) for seed in range(2, 42)]
    far = score(KID, toy, real, random_images(100, 99, 200))
    assert min(found) < 0 < max(found)
    # The real images are the same in all: a standard error of theirs is allowed for.
    assert abs(np.mean(found)) < 0.01 * far


def test_kid_draws_nothing_whatever_the_number_of_images(toy, monkeypatch):
    real, fake = random_images(300, 1), random_images(200, 2, 200)
    monkeypatch.setattr(real_module, "MAX_ROWS", 50)
    x = compute_statistics(real, toy).rows.numpy()
    y = toy(fake).features.numpy()
    assert score(KID, toy, real, fake) == pytest.approx(unbiased_mmd(x, y), rel=1e-9)
    assert scorer_of(toy, real).describe(200)["kid"] == {"real_images": 50}


def test_the_first_version_is_the_mean_over_seeded_subsets(toy):
    real, fake = random_images(300, 1), random_images(200, 2, 200)
    x, y = toy(real).features.numpy(), toy(fake).features.numpy()
    generator = torch.Generator().manual_seed(0)
    expected = []
    for _ in range(20):
        of_x = torch.randperm(300, generator=generator)[:100]
        of_y = torch.randperm(200, generator=generator)[:100]
        expected.append(unbiased_mmd(x[of_x], y[of_y]))
    assert score(SUBSET_KID, toy, real, fake) == pytest.approx(np.mean(expected), rel=1e-7)


def test_the_first_version_has_the_values_of_earlier_versions(digits, classifier):
    """Recorded at 5e29aeb: an unfinished run ends with the same metric that it began with."""
    generator = torch.Generator().manual_seed(11)
    images = torch.randint(0, 256, (1000, 1, 8, 8), generator=generator, dtype=torch.uint8)
    found = score(SUBSET_KID, classifier, digits.images, images)
    assert found == pytest.approx(339.9920644865463, rel=1e-6)


def test_scores_do_not_depend_on_the_global_stream_nor_move_it(toy):
    real, fake = random_images(300, 1), random_images(200, 2)
    first = feed(scorer_of(toy, real), fake).compute()
    subsets = score(SUBSET_KID, toy, real, fake)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        assert feed(scorer_of(toy, real), fake).compute() == first
        assert score(SUBSET_KID, toy, real, fake) == subsets
        moved = torch.rand(3)
        torch.manual_seed(1234)
        assert torch.equal(moved, torch.rand(3))


def test_settings_of_the_first_version_say_how_subsets_are_drawn(toy, monkeypatch):
    real = compute_statistics(random_images(300, 1), toy)
    settings = {"real_images": 300, "subsets": 20, "subset_size": 100, "seed": 0}
    assert SUBSET_KID.settings(200, real) == settings
    assert SUBSET_KID.settings(2, real)["subset_size"] == 2
    monkeypatch.setattr(module, "MAX_SUBSET_SIZE", 30)
    assert SUBSET_KID.settings(200, real)["subset_size"] == 30
