"""Images that are too few for FID: then KID, which has no bias, is the better measure.

The bias of FID falls with the number of images and rises with the number of features. Published
FIDs are of 10,000 to 50,000 images in features of the size of general ones. The features of a data
set's own classifier are fewer (64 and 256), and need fewer images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ditbench.distances import title_of

ENOUGH = 10_000  # more than any general features have dimensions
OWN_CLASSIFIERS = ("digits", "cifar10")  # features with a classifier of one data set's classes


def are_few(features: str | None, real: float, samples: float) -> bool:
    """Whether real images or samples are too few for FID; NaN is a number that is not known."""
    general = features is not None and features not in OWN_CLASSIFIERS
    return general and (real < ENOUGH or samples < ENOUGH)


def few_images(features: str, real: float, samples: int) -> str:
    """What that means, in words."""
    of = [f"{real:,.0f} real images"] if real < ENOUGH else []
    of += [f"{samples:,} samples"] if samples < ENOUGH else []
    fid, kid = title_of("fid", features), title_of("kid", features)
    return (
        f"{' and '.join(of)} are few for {fid} in {features} features ({ENOUGH:,} are enough): "
        f"{kid}, which has no bias, is better."
    )


def few_in_group(group: Mapping[str, Any], real: float) -> str:
    """`few_images` for a group of runs with `real` real images; empty where they are enough."""
    features, samples = group.get("features"), group.get("samples")
    if features is None or samples is None or not are_few(features, real, samples):
        return ""
    return few_images(features, real, samples)
