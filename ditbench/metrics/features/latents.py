"""Features of latents themselves, where no autoencoder is at hand to decode them."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ditbench.distances import LATENTS
from ditbench.metrics.features.extractors import Extractor, Features

# More numbers per latent are averaged over squares of positions: distances need their covariance.
MOST = 1_024


class LatentFeatures(Extractor):
    """Latents in the range of a model, averaged over squares where they are large.

    Their Fréchet distance compares runs on the same latents. It is not a FID: the features are not
    those of images.
    """

    name = LATENTS
    num_features = MOST  # at most
    num_classes = None
    classifies = False
    accepts = "latents"
    of_latents = True
    cpu_batch = 10_000

    def __init__(self, weights: Path | None = None) -> None:
        del weights  # there are none
        super().__init__()
        self.details = {"network": f"none: latents, averaged to at most {MOST} numbers"}

    @classmethod
    def check_shape(cls, shape: tuple[int, ...]) -> None:
        """Accept latents of any shape."""

    def extract(self, images: Tensor) -> Features:
        """Features (N, F) of latents (N, C, H, W) float32."""
        C, H, W = images.shape[1:]
        side = 1
        while C * -(-H // side) * -(-W // side) > MOST and side < max(H, W):
            side *= 2
        pooled = F.adaptive_avg_pool2d(images, (-(-H // side), -(-W // side)))
        return Features(pooled.flatten(1).to(torch.float32), None)
