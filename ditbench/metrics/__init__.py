"""Metrics of generated images: feature extractors, and the scores computed from their features.

This package knows nothing of runs, models or configurations. This file holds the registries of
extractors and metrics. It imports torch only when one of them is loaded, so that names can be
listed and checked quickly. `ditbench.metrics.score` computes the scores.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ditbench.metrics.extractors import Extractor, LabelledImages
    from ditbench.metrics.metric import Metric

_EXTRACTORS = {  # name -> module of this package, class; the first is the default
    "digits": ("digits_classifier", "DigitsClassifier"),
    "cifar10": ("cifar10_classifier", "Cifar10Classifier"),
    "inception": ("inception", "InceptionV3"),
}
_METRICS = (  # module of this package, class; in the order of the columns of eval.csv
    ("fid", "FID"),
    ("kid", "KID"),
    ("label_accuracy", "LabelAccuracy"),
)


def metric_classes() -> list[type[Metric]]:
    """Every metric, in the order of the registry. Imports torchmetrics, which takes seconds."""
    return [_load(*place) for place in _METRICS]


def extractor_names() -> tuple[str, ...]:
    """The names that `create_extractor` knows; the first is the default."""
    return tuple(_EXTRACTORS)


def extractor_class(name: str, dataset: LabelledImages | None = None) -> type[Extractor]:
    """The class of an extractor, after a check that it fits a data set; reads no weights.

    Raises:
        DitbenchError: `name` is unknown (the hint offers the nearest one), or the extractor does
            not accept the data set's image shape or has another number of classes.
    """
    if name not in _EXTRACTORS:
        raise unknown_name("features", name, _EXTRACTORS)
    kind: type[Extractor] = _load(*_EXTRACTORS[name])
    if dataset is None:
        return kind
    kind.check_shape(tuple(dataset.images.shape[1:]))
    if kind.num_classes not in (None, dataset.num_classes):
        raise DitbenchError(
            f"{name} features have {kind.num_classes} classes, the data set has "
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
    """Create the extractor that scores a data set.

    Args:
        name: one of `extractor_names()`.
        dataset: the data set to be scored.
        inception_weights: the weights file of `inception`; None uses torch's hub cache.
        device: where the extractor runs.

    Raises:
        DitbenchError: as `extractor_class`, or the weights are missing or damaged.
    """
    kind = extractor_class(name, dataset)  # first: a mismatch must not start a download
    options: dict[str, Any] = {"weights": inception_weights} if name == "inception" else {}
    return kind(**options).to(device)


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"{__name__}.{module}"), name)
