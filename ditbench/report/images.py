"""On which images FIDs were measured, and what such FIDs may be compared with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ditbench.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

# Data sets that are by their name the images that papers mean; of others only their owner knows.
PUBLISHED = ("cifar10", "fashion-mnist")
# Features in which papers give FIDs.
COMMON_FEATURES = "inception"
_MAX_NAME = 40


def source_of(flat: Mapping[str, Any]) -> str:
    """What the images of a run are called: a data set, or the file or folder that they came from.

    Args:
        flat: the run's configuration, with dotted keys.
    """
    name, path = str(flat.get("data.name")), flat.get("data.path")
    if name in PUBLISHED or not isinstance(path, str):
        return name
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
    return one_line(parts[-1], _MAX_NAME) if parts else name


def images_of(group: Mapping[str, Any]) -> str | None:
    """What the images of a group are called; None where its runs have several sets of images."""
    return group.get("source", group.get("dataset"))


def note(group: Mapping[str, Any]) -> str:
    """What the FIDs of a group must not be compared with; empty where they are of the usual kind.

    FIDs in features of one's own, or on a copy of the images that a paper used, have the paper's
    name and another size.
    """
    features = group.get("features")
    if features == COMMON_FEATURES and group.get("dataset") in PUBLISHED:
        return ""
    of = "several features" if features is None else f"{features} features"
    return (
        f"FID and KID are in {of}, on images of {images_of(group) or 'several data sets'}: "
        "they compare these runs with each other, never with published FIDs."
    )
