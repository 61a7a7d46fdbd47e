"""The classes of the scored samples: equally many of each, or as many as the data have."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.data.dataset import ImageDataset
from ditbench.errors import DitbenchError

# How many times the images of the smallest class the largest may have to count as balanced.
MOST = 1.5


def class_sizes(dataset: ImageDataset) -> Tensor:
    """The number of images of each class, (K,)."""
    return dataset.labels.bincount(minlength=dataset.num_classes)


def check_classes(dataset: ImageDataset) -> None:
    """Raise a DitbenchError that names the first class without images, if there is one."""
    empty = (class_sizes(dataset) == 0).nonzero().flatten().tolist()
    if empty:
        more = f" (and of {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise DitbenchError(
            f"data set '{dataset.name}' has no images of class {empty[0]}, "
            f"'{dataset.class_names[empty[0]]}'{more}",
            "add images of it, or remove the class and number the others without gaps",
        )


def resolve_labels(asked: str, dataset: ImageDataset) -> str:
    """What `eval.labels` means for a data set: `data`, `balanced`, or `auto` for the default.

    Where classes have about the same size, the default is balanced labels. It is then called
    `auto`, so that runs which were made before there was a choice keep their fingerprint.
    """
    sizes = class_sizes(dataset)
    default = "balanced" if sizes.max() <= MOST * sizes.min() else "data"
    chosen = default if asked == "auto" else asked
    return "auto" if chosen == default == "balanced" else chosen


def scored_labels(labels: str, count: int, dataset: ImageDataset) -> Tensor:
    """The class of each scored sample, (count,), for a resolved `eval.labels`."""
    if labels == "data":
        return proportional_labels(count, class_sizes(dataset))
    return balanced_labels(count, dataset.num_classes)


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Labels (count,) that go through all classes in turn."""
    return torch.arange(count) % num_classes


def proportional_labels(count: int, sizes: Tensor) -> Tensor:
    """Labels (count,) in proportion to the sizes (K,) of the classes.

    Rounded by largest remainders, the lower class first. Each class is spread evenly over the list,
    so that every beginning of it has about the same proportions.
    """
    # In integers: shares such as 2/3 have no exact float.
    whole, rest = count * sizes // sizes.sum(), count * sizes % sizes.sum()
    first = rest.argsort(descending=True, stable=True)[: count - int(whole.sum())]
    whole[first] += 1
    labels = torch.arange(len(sizes)).repeat_interleave(whole)
    number = torch.arange(count) - (whole.cumsum(0) - whole)[labels]  # within its class
    place = (number + 0.5) / whole[labels]
    return labels[place.argsort(stable=True)]
