"""A small extractor whose features can be computed by hand."""

import torch

from ditbench.metrics.features.extractors import Extractor, Features


class ToyExtractor(Extractor):
    """Features are a fixed linear map of the pixels; counts its calls."""

    name = "toy"
    num_features = 12
    num_classes = 4
    accepts = "4x4 RGB"

    def __init__(self, seed=0):
        super().__init__()
        weight = torch.randn(48, 12, generator=torch.Generator().manual_seed(seed)) / 300
        self.register_buffer("weight", weight)
        self.calls = 0
        self.details = {}

    @classmethod
    def check_shape(cls, shape):
        assert shape == (3, 4, 4)

    def extract(self, images):
        self.calls += 1
        features = images.flatten(1).float() @ self.weight
        return Features(features, features[:, : self.num_classes])


def random_images(count, seed, high=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, high, (count, 3, 4, 4), generator=generator, dtype=torch.uint8)
