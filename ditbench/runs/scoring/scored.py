"""What is scored: images, those that an autoencoder decodes from latents, or latents themselves."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ditbench.config import RunConfig
from ditbench.data import recorded
from ditbench.data.dataset import ImageDataset, quantised
from ditbench.data.latents.vae import Vae
from ditbench.errors import DitbenchError
from ditbench.metrics import AUTO
from ditbench.metrics.real import RealImages, RealLatents, decoded
from ditbench.metrics.reference import Published, is_published, load_reference
from ditbench.runs.planning.task import Task


def scored_as(config: RunConfig, dataset: ImageDataset) -> ImageDataset:
    """A data set of the shape and the classes of what is scored: only these are meaningful."""
    space = dataset.latents
    if space is None or config.data.vae is None:
        return dataset
    facts = {"shape": [3, *[space.image_size] * 2], "classes": list(dataset.class_names)}
    return recorded.stand_in(dataset.name, facts)


def decode_samples(task: Task, samples: Tensor) -> Tensor:
    """Samples as `sample_images` returns them, as extractors accept them, on the task's device.

    Each process of the task's world receives all of them.
    """
    samples, vae = samples.to(task.device), decoder(task)
    return samples if vae is None else decoded(samples, task.dataset, vae, task.world)


def as_pictures(task: Task, samples: Tensor) -> Tensor:
    """Samples as images for people: uint8 (N, 1 or 3, H, W), on the CPU.

    Without an autoencoder, the first channels of latents are shown as colours.
    """
    if task.dataset.latents is not None and task.config.data.vae is None:
        samples = quantised(samples[:, : 3 if samples.shape[1] >= 3 else 1] / 2)
        return samples.cpu()
    return decode_samples(task, samples).cpu()


def real_images(task: Task) -> RealImages | Published:
    """What samples are compared with: what is asked for, or else the data that a model learns.

    Of latents, these are the images that the autoencoder makes of them. Their FID does not see
    what the autoencoder loses.
    """
    config, dataset = task.config, task.dataset
    if (asked := reference(config, dataset)) is not None:
        return asked
    return learned(task, dataset)


def learned(task: Task, dataset: ImageDataset) -> RealImages:
    """The images of a data set as they are scored."""
    if dataset.latents is None:
        return dataset
    return RealLatents(dataset, task.device, decoder(task), task.world)


def reference(config: RunConfig, dataset: ImageDataset) -> RealImages | Published | None:
    """The real images that a configuration names."""
    if config.metrics.real is None:
        return None
    space = dataset.latents
    if space is not None and config.data.vae is None:
        what = f"latents cannot be compared with the real images in {config.metrics.real}"
        raise DitbenchError(what, "decode the samples: --vae PATH")
    size = dataset.height if space is None else space.image_size
    return load_reference(config.metrics.real, size, 3 if space else dataset.channels)


def has_rows(config: RunConfig) -> bool:
    """Whether single real images are known, not only published statistics of them."""
    return not is_published(config.metrics.real)


def digests(config: RunConfig, dataset: ImageDataset) -> dict[str, str | None]:
    """The keys that identify the autoencoder and the real images; None where there are none. Raises
    a DitbenchError if they are not those of the configuration, or statistics of other features.
    """
    vae, real = vae_digest(config, dataset), reference(config, dataset)
    if isinstance(real, Published) and config.metrics.features != AUTO:
        real.check(config.metrics.features)
    found = None if real is None else real.digest
    _check_same(config.metrics.real_digest, found, "real images", "metrics.real_digest")
    return {"data__vae_digest": vae, "metrics__real_digest": found}


def vae_digest(config: RunConfig, dataset: ImageDataset) -> str | None:
    """The SHA-256 of the autoencoder that decodes samples; None without one. Raises a DitbenchError
    if it does not fit the latents, or is not the one of the configuration.
    """
    vae, space = config.data.vae, dataset.latents
    if vae is None:
        return None
    if space is None:
        what = f"'{dataset.name}' has images, which no autoencoder decodes"
        raise DitbenchError(what, "leave out --vae")
    found, *shape = _facts(vae)
    if shape != [dataset.channels, space.downsampling]:
        raise DitbenchError(
            f"the autoencoder {vae} decodes {shape[0]} channels, each side times {shape[1]}; the "
            f"latents of '{dataset.name}' have {dataset.channels} channels, and sides divided by "
            f"{space.downsampling}",
            "name the autoencoder that made the latents: --vae PATH",
        )
    _check_same(config.data.vae_digest, found, "autoencoder", "data.vae_digest")
    return found


def _check_same(before: str | None, found: str | None, what: str, key: str) -> None:
    if before not in (None, found):
        message = f"the {what} of this configuration: not what it was made for"
        hint = f"name what it was made for, where that is now; or remove {key}"
        raise DitbenchError(message, hint)


def other_decoder(task: Task) -> str | None:
    """A line about an autoencoder that is not the one that made the latents, where that is known.

    It is no error: Stable Diffusion's autoencoders have one encoder and several decoders.
    """
    space, config = task.dataset.latents, task.config.data
    digest = None if space is None else space.vae_digest
    if space is None or None in (digest, config.vae_digest) or digest == config.vae_digest:
        return None
    return f"latents of {space.vae} are decoded by {config.vae}, which is another autoencoder"


def remark(task: Task) -> str | None:
    """What the scores of latents are, if it is worth a line."""
    space, config = task.dataset.latents, task.config
    if space is None:
        return None
    if config.data.vae is None:
        return (
            "samples are compared as latents, by distances that are not FIDs; --vae PATH decodes "
            "them to images"
        )
    if config.metrics.real is None:
        return (
            "samples are compared with decoded latents: FID does not see what the autoencoder "
            "loses; --real FOLDER compares them with the images"
        )
    if has_rows(config):
        return None
    return (
        f"{config.metrics.real.name} has the mean and the covariance of real images: KID, "
        "precision, recall, density and coverage, which need single images, are left out"
    )


def decoder(task: Task) -> Vae | None:
    """The autoencoder of a task, on its device; None if there is none, or nothing to decode."""
    if task.dataset.latents is None or task.config.data.vae is None:
        return None
    return _load(task.config.data.vae, task.device)


@cache
def _load(path: Path, device: torch.device) -> Vae:
    return Vae.load(path, device)


@cache
def _facts(path: Path) -> tuple[str, int, int]:
    """Digest, channels and downsampling of an autoencoder, which is not kept in memory."""
    vae = Vae.load(path)
    return vae.digest, vae.channels, vae.downsampling
