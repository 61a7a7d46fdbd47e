"""Metrics of generated images: feature extractors, and the scores computed from their features.

This file holds the registries. It imports torch only when an entry is loaded, so that names are
listed and checked fast. `ditbench.metrics.score` computes the scores.
"""

from __future__ import annotations

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
}
_METRICS = (  # module of this package, class; in the order of the columns of eval.csv
    ("fid", "FID"),
    ("kid", "KID"),
    ("label_accuracy", "LabelAccuracy"),
)


def metric_classes() -> list[type[Metric]]:
    """Every metric, in order. Imports torchmetrics, which takes seconds."""
    return [_load(*place) for place in _METRICS]


def extractor_names() -> tuple[str, ...]:
    """The names that `create_extractor` knows; the first is the default."""
    return tuple(_EXTRACTORS)


def extractor_class(name: str, dataset: ImageDataset | None = None) -> type[Extractor]:
    """The class of an extractor, for the classes of a data set that it fits; reads no weights.

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
    return kind.for_classes(dataset.class_names)


def class_remark(name: str, dataset: ImageDataset) -> str | None:
    """What label accuracy makes of the names of a data set's classes, if it is worth a line."""
    own, kind = extractor_class(name).class_names, extractor_class(name, dataset)
    if own is None:
        return None
    if kind.num_classes is None:
        return (
            f"no label accuracy: the classes of '{dataset.name}' are "
            f"{', '.join(dataset.class_names)}, those of the {name} features {', '.join(own)}"
        )
    order = kind.class_order or range(len(own))
    pairs = zip(dataset.class_names, (own[index] for index in order), strict=True)
    renamed = [f"{given} = {known}" for given, known in pairs if given.lower() != known.lower()]
    if not renamed and kind.class_order is None:
        return None
    return (
        f"label accuracy takes the classes of '{dataset.name}' as those of the {name} features, "
        f"{', '.join(renamed) or 'in another order'}"
    )


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
