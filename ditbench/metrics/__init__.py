"""Metrics of generated images: feature extractors, and torchmetrics around them.

A library of its own: it knows nothing of runs, models or configurations. This file is the registry
of extractors; it imports torch only when one is created, so that names can be listed and checked
at once. Scores are computed by `ditbench.metrics.score`, which takes seconds to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ditbench.metrics.extractors import Extractor, LabelledImages

_EXTRACTORS = {  # name -> (module of this package, class)
    "digits": ("digits_classifier", "DigitsClassifier"),
    "cifar10": ("cifar10_classifier", "Cifar10Classifier"),
    "inception": ("inception", "InceptionV3"),
}


def extractor_names() -> tuple[str, ...]:
    """The names that `create_extractor` knows; the first is the default."""
    return tuple(_EXTRACTORS)


def extractor_class(name: str, dataset: LabelledImages) -> type[Extractor]:
    """The extractor's class, if it fits the images; no weights are read.

    Args:
        name: one of `extractor_names()`.
        dataset: what will be scored; its image shape, and for a classifier its number of classes,
            have to be the extractor's.

    Raises:
        DitbenchError: `name` is unknown (the hint offers the nearest one); shape or number of
            classes do not fit.
    """
    if name not in _EXTRACTORS:
        raise unknown_name("features", name, _EXTRACTORS)
    module, class_name = _EXTRACTORS[name]
    kind: type[Extractor] = getattr(import_module(f"{__name__}.{module}"), class_name)
    kind.check_shape((dataset.channels, dataset.height, dataset.width))
    if kind.num_classes not in (None, dataset.num_classes):
        raise DitbenchError(
            f"{name} features tell {kind.num_classes} classes, the data set has "
            f"{dataset.num_classes}",
            "use features without a classifier: --set metrics.features=inception",
        )
    return kind


def create_extractor(
    name: str,
    dataset: LabelledImages,
    inception_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """Create an extractor for the images of a data set.

    Args:
        name: see `extractor_class`.
        dataset: see `extractor_class`.
        inception_weights: a file for `inception`, where torch's cache has none; others ignore it.
        device: where the extractor runs.

    Raises:
        DitbenchError: as `extractor_class`, or when weights are missing or damaged.
    """
    # Before any weights are read: a data set that does not fit must not start a download.
    kind = extractor_class(name, dataset)
    options: dict[str, Any] = {"weights": inception_weights} if name == "inception" else {}
    return kind(**options).to(device)
