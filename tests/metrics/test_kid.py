import numpy as np
import pytest
import torch
from scoring import feed, scorer_of, unbiased_mmd
from toy_extractor import random_images

from ditbench.metrics import kid as module
from ditbench.metrics import real as real_module


def test_kid_is_the_mean_over_seeded_subsets(toy):
    real, fake = random_images(300, 1), random_images(200, 2, 200)
    scorer = feed(scorer_of(toy, real), fake)
    x, y = scorer.real.rows.numpy(), toy(fake).features.numpy()
    generator = torch.Generator().manual_seed(0)
    expected = []
    for _ in range(20):
        of_x = torch.randperm(300, generator=generator)[:100]
        of_y = torch.randperm(200, generator=generator)[:100]
        expected.append(unbiased_mmd(x[of_x], y[of_y]))
    assert scorer.compute()["kid"] == pytest.approx(np.mean(expected), rel=1e-7)


def test_kid_does_not_depend_on_the_global_stream_nor_move_it(toy):
    real, fake = random_images(300, 1), random_images(200, 2)
    first = feed(scorer_of(toy, real), fake).compute()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        assert feed(scorer_of(toy, real), fake).compute() == first
        moved = torch.rand(3)
        torch.manual_seed(1234)
        assert torch.equal(moved, torch.rand(3))


def test_settings_say_how_subsets_are_drawn(toy, monkeypatch):
    scorer = scorer_of(toy, random_images(300, 1))
    settings = {"real_images": 300, "subsets": 20, "subset_size": 100, "seed": 0}
    assert scorer.describe(200)["kid"] == settings
    assert scorer.describe(2)["kid"]["subset_size"] == 2
    monkeypatch.setattr(module, "MAX_SUBSET_SIZE", 30)
    assert scorer.describe(200)["kid"]["subset_size"] == 30
    monkeypatch.setattr(real_module, "MAX_ROWS", 50)
    capped = scorer_of(toy, random_images(300, 1))
    assert capped.describe(200)["kid"] == settings | {"real_images": 50, "subset_size": 25}
    assert capped.describe(200)["real_images"] == 300
