"""Whether settings fit the images and the metrics; everything that does not is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ditbench.config import RunConfig
from ditbench.data import check_settings
from ditbench.data.dataset import ImageDataset
from ditbench.errors import DitbenchError, together
from ditbench.metrics import extractor_class, find_metrics
from ditbench.models.sizes import check_size
from ditbench.runs.planning.features import choose_features
from ditbench.runs.scoring.labels import check_classes
from ditbench.runs.scoring.scored import digests, has_rows, scored_as


def check_fit(config: RunConfig, dataset: ImageDataset) -> None:
    """Raise one DitbenchError with everything in which a configuration does not fit its images.

    Settings without effect pass, see `check_effect`.
    """
    metrics, scored = config.metrics, scored_as(config, dataset)
    checks: list[Callable[[], object]] = [
        lambda: extractor_class(choose_features(config)[0], scored),
        *(partial(extractor_class, name, scored) for name in metrics.also),
        partial(digests, config, dataset),
    ]
    if metrics.extra:  # it imports torchmetrics
        checks.append(partial(find_metrics, metrics.extra))
    _raise([*_of_images(config, dataset), *_errors_of(*checks)])


def check_images(config: RunConfig, dataset: ImageDataset) -> None:
    """As `check_fit` and `check_effect`, without the metrics, whose features may be missing."""
    effect = partial(check_effect, config, dataset)
    _raise([*_of_images(config, dataset), *_errors_of(effect)])


def check_effect(config: RunConfig, dataset: ImageDataset) -> None:
    """Raise a DitbenchError for a setting that images of this kind do not have.

    It is for new runs: earlier versions accepted such settings, which are part of fingerprints.
    """
    data = config.data
    check_settings(data.name, data.settings, latents=dataset.latents is not None)


def _raise(errors: list[DitbenchError]) -> None:
    if errors:
        raise together(errors)


def _of_images(config: RunConfig, dataset: ImageDataset) -> list[DitbenchError]:
    checks = [
        partial(check_classes, dataset),
        partial(check_size, config.model.size, dataset.height, dataset.width),
    ]
    return [*_misfits(config, dataset), *_errors_of(*checks)]


def _errors_of(*checks: Callable[[], object]) -> Iterator[DitbenchError]:
    for check in checks:
        try:
            check()
        except DitbenchError as error:
            yield error


def _misfits(config: RunConfig, dataset: ImageDataset) -> Iterator[DitbenchError]:
    """What the numbers of images and classes exclude."""
    if config.data.digest not in ("auto", dataset.digest):
        yield DitbenchError(
            f"the images of '{dataset.name}' differ from those this configuration was made for",
            "remove data.digest from the configuration to train on other images",
        )
    if config.data.horizontal_flip and dataset.latents is not None and not dataset.flipped:
        # The mirror image of a latent is not the latent of the mirror image.
        yield DitbenchError(
            f"data.horizontal_flip = true needs the latents of mirrored images, which "
            f"'{dataset.name}' does not hold",
            "pass --set data.horizontal_flip=false, or encode the images with --flip",
        )
    if len(dataset) == 1:  # which has no covariance
        yield DitbenchError(f"'{dataset.name}' has 1 image, and FID needs at least 2", "add images")
    if config.train.batch_size > len(dataset):
        yield DitbenchError(
            f"batch size {config.train.batch_size} is larger than the data ({len(dataset)} images)",
            f"pass --batch-size {len(dataset)} or less",
        )
    if config.metrics.further and not has_rows(config):
        yield DitbenchError(
            f"{config.metrics.real} has statistics of one network's features, not those of "
            f"{', '.join(config.metrics.further)}",
            "leave out metrics.also, or name the real images: --real FOLDER",
        )
    if (config.eval.cfg_channels or 0) > dataset.channels:
        yield DitbenchError(
            f"eval.cfg_channels = {config.eval.cfg_channels} is more than the {dataset.channels} "
            f"channels of '{dataset.name}'",
            "leave it out to guide all channels",
        )
    if config.eval.samples < dataset.num_classes:
        yield DitbenchError(
            f"eval.samples = {config.eval.samples} is fewer than the {dataset.num_classes} classes",
            f"pass --set eval.samples={dataset.num_classes} or more",
        )
