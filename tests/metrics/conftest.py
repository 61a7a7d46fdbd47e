"""Data, extractors, and a cache of the test's own."""

import pytest
import torch
from toy_extractor import ToyExtractor, random_images

from ditbench.data.dataset import ImageDataset
from ditbench.data.digits import load_digits
from ditbench.metrics.features.classifiers import DigitsClassifier


@pytest.fixture
def toy():
    return ToyExtractor()


@pytest.fixture
def toy_data():
    labels = torch.arange(300) % 4
    return ImageDataset("toy", random_images(300, 1), labels, ("a", "b", "c", "d"))


@pytest.fixture(scope="session")
def digits():
    return load_digits()


@pytest.fixture(scope="session")
def classifier():
    return DigitsClassifier()


@pytest.fixture(autouse=True)
def own_cache(own_cache):
    """No test of this folder reads or writes what another has cached."""
    return own_cache


@pytest.fixture(autouse=True)
def _untouched(global_stream_untouched):
    """No test of this folder may draw from torch's global stream, and so nothing that it calls."""
