"""Metrics of generated images: feature extractors, and the scores computed from their features.

This file holds the registries. It imports torch only when an entry is loaded, so that names are
listed and checked fast. `ditbench.metrics.scorer` computes the scores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditbench.distances import LATENTS
from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    import torch

    from ditbench.data.dataset import ImageDataset
    from ditbench.metrics.features.extractors import Extractor
    from ditbench.metrics.metric import Metric

_EXTRACTORS = {  # name -> module of `features`, class; the first is the default
    "digits": ("classifiers", "DigitsClassifier"),
    "cifar10": ("classifiers", "Cifar10Classifier"),
    "inception": ("inception", "InceptionV3"),
    "resnet50": ("imagenet", "ResNet50"),
    "resnet50-v1": ("imagenet", "ResNet50First"),
    "efficientnet-b0": ("imagenet", "EfficientNetB0"),
    "resnet18": ("imagenet", "ResNet18"),
    "efficientnet-lite0": ("efficientnet", "EfficientNetLite0"),
    "dinov2": ("dinov2", "DinoV2"),
    "dinov2-vits14": ("dinov2", "DinoV2Small"),
    "latents": ("latents", "LatentFeatures"),
}
AUTO = "auto"  # stands for the features that `at_hand` chooses
# Of those, the general ones, the preferred first. Only Inception is downloaded unasked.
GENERAL = (
    *("inception", "resnet50", "resnet50-v1", "efficientnet-b0", "resnet18"),
    "efficientnet-lite0",
)
_METRICS = {  # name -> module of this package, constant, by default; in the order of the columns
    "fid": ("scores.fid", "FID", True),
    "kid": ("scores.kid", "KID", True),
    "label_accuracy": ("scores.label_accuracy", "LABEL_ACCURACY", True),
    "precision": ("scores.neighbours", "PRECISION", True),
    "recall": ("scores.neighbours", "RECALL", True),
    "density": ("scores.neighbours", "DENSITY", True),
    "coverage": ("scores.neighbours", "COVERAGE", True),
    "inception_score": ("scores.inception_score", "INCEPTION_SCORE", False),
    "memorization": ("scores.memorization", "MEMORIZATION", False),
    "fid_infinity": ("scores.fid_infinity", "FID_INFINITY", False),
}
_EARLIER = {("kid", 1): ("scores.kid", "SUBSET_KID")}  # name, version -> module, constant


def find_metrics(
    extra: Collection[str] = (), begun: Mapping[str, int] | None = None
) -> list[Metric]:
    """The metrics of a run, in the order of `eval.csv`. Imports torchmetrics, which takes seconds.

    A new run has the default metrics and those of `extra`, and records their versions by name. A
    run that resumes has those of its record, `begun`; `extra` then adds nothing. Raises a
    DitbenchError for an unknown name in `extra`, or a version in `begun` that this ditbench does
    not have.
    """
    if begun is not None:
        return [_of_version(name, version) for name, version in begun.items()]
    for name in extra:
        if name not in _METRICS:
            raise unknown_name("metric", name, _METRICS)
    return [
        _load(module, constant)
        for name, (module, constant, default) in _METRICS.items()
        if default or name in extra
    ]


def _of_version(name: str, version: int) -> Metric:
    """A metric in the version that a run was begun with."""
    if name in _METRICS:
        metric: Metric = _load(*_METRICS[name][:2])
        if metric.version == version:
            return metric
    if (name, version) in _EARLIER:
        return _load(*_EARLIER[name, version])
    raise DitbenchError(
        f"the run was begun with version {version} of the metric {name}, which is not available",
        "resume it with the version of ditbench that began it, or start anew in another --out",
    )


def extractor_names() -> tuple[str, ...]:
    """The names that `create_extractor` knows; the first is the default."""
    return tuple(_EXTRACTORS)


def extractor_class(name: str, dataset: ImageDataset | None = None) -> type[Extractor]:
    """The class of an extractor, for the classes of a data set that it fits; reads no weights.

    Raises a DitbenchError for an unknown name, or images (or latents) that it does not accept.
    """
    if name not in _EXTRACTORS:
        raise unknown_name("features", name, _EXTRACTORS)
    module, class_name = _EXTRACTORS[name]
    kind: type[Extractor] = _load(f"features.{module}", class_name)
    if dataset is None:
        return kind
    if kind.of_latents and dataset.latents is None:
        what = f"{name} features compare latents, and samples of '{dataset.name}' are images"
        raise DitbenchError(what, "use general features: --features auto")
    if dataset.latents is not None and not kind.of_latents:
        raise DitbenchError(
            f"{name} features need images, and '{dataset.name}' has latents",
            "decode the samples: --vae PATH; or compare latents: --features latents",
        )
    kind.check_shape(tuple(dataset.images.shape[1:]))
    if kind.num_classes not in (None, dataset.num_classes):
        raise DitbenchError(
            f"{name} features have {kind.num_classes} classes, the data set has "
            f"{dataset.num_classes}",
            "use general features: --features auto",
        )
    return kind.for_classes(dataset.class_names)


def at_hand(data_name: str, inception_weights: Path | None = None) -> tuple[str, str]:
    """The name of the features for a data set by what this machine has, and why, in words.

    A data set that has a classifier of its own name gets that. Other images get general features:
    Inception, if its weights are given, in torch's cache or downloaded now; or else the first of
    `GENERAL` whose files are all there; or a DitbenchError with the command that fetches some.
    """
    if data_name in _EXTRACTORS and data_name != LATENTS:
        return data_name, "the classifier of this data set"
    first, *others = GENERAL
    inception: Any = extractor_class(first)
    if inception_weights is not None:
        return first, f"with the weights in {inception_weights}"
    try:
        return first, f"with the weights in {inception.find_weights()}"
    except DitbenchError as error:
        missing = error
    for name in others:
        kind = extractor_class(name)
        if all(file.exists() for file in kind.files()):
            hint = "`ditbench features inception` shows how to get it"
            return name, f"since Inception is not at hand ({hint})"
    what = f"no features for these images are at hand: {missing.message}"
    raise DitbenchError(what, extractor_class(others[-1]).weights_hint()) from missing


def class_remark(name: str, dataset: ImageDataset) -> str | None:
    """What label accuracy makes of the names of a data set's classes, if it is worth a line."""
    own, kind = extractor_class(name).class_names, extractor_class(name, dataset)
    if own is None or dataset.num_classes == 1:
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

    `inception_weights` is the weights file of `inception`; None uses torch's hub cache. Errors are
    those of `extractor_class`, and of weights that are missing or damaged.
    """
    kind = extractor_class(name, dataset)  # first: a mismatch must not start a download
    weights = inception_weights if name == "inception" else None
    return kind(weights).to(device)


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"{__name__}.{module}"), name)
