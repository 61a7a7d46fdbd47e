"""Metrics of generated images: feature extractors, and the scores computed from their features.

This file holds the registries. It imports torch only when an entry is loaded, so that names are
listed and checked fast. `ditbench.metrics.score` computes the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    import torch

    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.extractors import Extractor
    from ditbench.metrics.metric import Metric

_EXTRACTORS = {  # name -> module of this package, class; the first is the default
    "digits": ("classifiers", "DigitsClassifier"),
    "cifar10": ("classifiers", "Cifar10Classifier"),
    "inception": ("inception", "InceptionV3"),
    "efficientnet-lite0": ("efficientnet", "EfficientNetLite0"),
    "dinov2": ("dinov2", "DinoV2"),
    "dinov2-vits14": ("dinov2", "DinoV2Small"),
}
_METRICS = (  # module of this package, class; in the order of the columns of eval.csv
    ("fid", "FID"),
    ("kid", "KID"),
    ("label_accuracy", "LabelAccuracy"),
)


def metric_classes(
    extra: Sequence[str] = (), begun: Mapping[str, int] | None = None
) -> list[type[Metric]]:
    """Every metric, in order. Imports torchmetrics, which takes seconds."""
    for name in extra:
        raise unknown_name("metric", name, [module for module, _ in _METRICS])
    return [_load(*place) for place in _METRICS if begun is None or place[0] in begun]


def extractor_names() -> tuple[str, ...]:
    """The names that `create_extractor` knows; the first is the default."""
    return tuple(_EXTRACTORS)


def extractor_class(name: str, dataset: ImageDataset | None = None) -> type[Extractor]:
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
    dataset: ImageDataset,
    inception_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """Create the extractor that scores a data set, on a device.

    `inception_weights` is the weights file of `inception`; None uses torch's hub cache.

    Raises:
        DitbenchError: as `extractor_class`, or the weights are missing or damaged.
    """
    kind = extractor_class(name, dataset)  # first: a mismatch must not start a download
    weights = inception_weights if name == "inception" else None
    return kind(weights).to(device)


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"{__name__}.{module}"), name)
