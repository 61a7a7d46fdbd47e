"""Random images."""

import pytest
import torch

from ditbench.bench import synthetic
from ditbench.bench.synthetic import random_images
from ditbench.errors import DitbenchError


def test_random_images_are_the_same_every_time_and_of_any_channels():
    one, two = (random_images(6, 4, 5, 7, least=3) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert one.images.shape[1:] == (5, 6, 4)
    assert one.num_classes == 7
    assert len(one) >= 3


def test_large_images_are_few_but_a_batch_of_them(monkeypatch):
    monkeypatch.setattr(synthetic, "MAX_BYTES", 1000)
    assert len(random_images(8, 8, 1, 2, least=1)) == 15
    assert len(random_images(8, 8, 1, 2, least=40)) == 40


def test_a_batch_beyond_memory_is_refused():
    with pytest.raises(DitbenchError, match="too large for memory") as raised:
        random_images(1024, 1024, 4, 2, least=10**6)
    assert raised.value.exit_code == 1
