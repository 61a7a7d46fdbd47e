"""What a run records of its data set in env.json, so that it can be sampled without the images."""

from __future__ import annotations

from typing import Any

import torch

from ditbench.data.dataset import ImageDataset
from ditbench.data.io.limits import MAX_SIDE
from ditbench.data.latents.space import LatentSpace
from ditbench.errors import DitbenchError

RECORD = "data"  # the key in env.json
MAX_SKIPPED = 1_000  # pictures that are listed


def facts_of(dataset: ImageDataset) -> dict[str, Any]:
    """The shape (C, H, W) of the images, the names of the classes, and the number of images.

    Where pictures were converted or skipped, what was done, and the first of those skipped.
    """
    shape, classes = list(dataset.images.shape[1:]), list(dataset.class_names)
    facts: dict[str, Any] = {"shape": shape, "classes": classes, "images": len(dataset)}
    if dataset.latents is not None:
        facts["latents"] = dataset.latents.facts()
    if dataset.notes:
        facts["notes"] = list(dataset.notes)
    if dataset.problems:
        facts["skipped"] = list(dataset.problems[:MAX_SKIPPED])
    return facts


def stand_in(name: str, facts: Any) -> ImageDataset:
    """A data set of this shape, one black image per class; a DitbenchError for damaged facts."""
    facts = facts if isinstance(facts, dict) else {}
    shape, classes = facts.get("shape"), facts.get("classes")
    # `true` equals 1.
    sides = isinstance(shape, list) and all(type(n) is int and 0 < n <= MAX_SIDE for n in shape)
    names = isinstance(classes, list) and all(isinstance(each, str) for each in classes)
    if not (sides and names and len(shape) == 3 and classes):
        what = "env.json does not record the shape and the classes of the images properly"
        raise DitbenchError(what, "restore the file from a copy of the run")
    space = LatentSpace.from_facts(facts["latents"], "env.json") if "latents" in facts else None
    dtype = torch.uint8 if space is None else torch.float32
    images = torch.zeros(1, *shape, dtype=dtype).expand(len(classes), *shape)
    labels = torch.arange(len(classes))
    return ImageDataset(name, images, labels, tuple(classes), latents=space)
