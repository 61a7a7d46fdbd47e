"""The images on which FIDs were measured, and whether these FIDs compare with published ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ditbench.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

# Data sets whose name alone identifies the images that papers use.
PUBLISHED = ("cifar10", "fashion-mnist")
# The features of published FIDs.
COMMON_FEATURES = "inception"
_MAX_NAME = 40


def source_of(flat: Mapping[str, Any]) -> str:
    """The name of a run's images: the data set, or the file or folder that they were read from.

    Args:
        flat: the run's configuration with dotted keys.
    """
    name, path = str(flat.get("data.name")), flat.get("data.path")
    if name in PUBLISHED or not isinstance(path, str):
        return name
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
    return one_line(parts[-1], _MAX_NAME) if parts else name


def images_of(group: Mapping[str, Any]) -> str | None:
    """The name of the images of a group; None when its runs use several sets of images."""
    return group.get("source", group.get("dataset"))


def note(group: Mapping[str, Any]) -> str:
    """A warning against comparing the FIDs of a group with published ones; may be empty.

    FIDs in other features than Inception's, or on a copy of a published data set, have the same
    name as published FIDs and a different scale.
    """
    features = group.get("features")
    if features == COMMON_FEATURES and group.get("dataset") in PUBLISHED:
        return ""
    of = "several features" if features is None else f"{features} features"
    return (
        f"FID and KID are in {of}, on images of {images_of(group) or 'several data sets'}: "
        "comparable between these runs, but not with published FIDs."
    )
