"""What can be known before the first run trains, and would otherwise end a later one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ditbench.amounts import file_size
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.files import cannot_write, is_stream, through_link
from ditbench.metrics import create_extractor
from ditbench.metrics.features.extractors import Extractor
from ditbench.runs.planning.plan import Plan
from ditbench.runs.scoring.scored import scored_as

# Bytes per parameter of a checkpoint in float32: weights, their average, AdamW's two moments.
CHECKPOINT = 4 * 4
# A run keeps two checkpoints; a third one exists while it is written.
CHECKPOINTS = 2


def check_ready(plans: Sequence[Plan]) -> dict[str, Extractor]:
    """Check weights of features and the place of results; returns the extractors by name.

    Complete runs need nothing. Nothing is written, except that missing weights are downloaded into
    the cache where that is possible.

    Raises:
        DitbenchError: weights are missing or damaged; exit code 1, a directory cannot be written
            or has too little space.
    """
    left = [plan for plan in plans if not plan.directory.is_complete()]
    extractors: dict[str, Extractor] = {}
    for plan in left:
        metrics, scored = plan.config.metrics, scored_as(plan.config, plan.dataset)
        for name in (metrics.features, *metrics.further):
            if name not in extractors:
                weights = metrics.inception_weights
                extractors[name] = create_extractor(name, scored, weights, plan.device)
    if left:
        check_writable(left[0].directory.path, checkpoints_size(left))
    return extractors


def checkpoints_size(left: Sequence[Plan]) -> int:
    """The bytes that checkpoints of incomplete runs need: those that are kept, and one more."""
    # Checkpoints of an interrupted run need no more space.
    kept = sum(plan.cost.parameters for plan in left if not plan.directory.checkpoints)
    largest = max(plan.cost.parameters for plan in left)
    return CHECKPOINT * (CHECKPOINTS * kept + largest)


def check_writable(path: Path, size: int = 0) -> None:
    """Check that a file or directory can be created at a path and that its disk has room. Raises a
    DitbenchError (exit code 1) if not.
    """
    if is_stream(path):
        return
    target = place = through_link(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    if place == target and target.is_file():
        place = target.parent
    try:
        with tempfile.TemporaryFile(dir=place):  # permissions do not show what is mounted
            free = shutil.disk_usage(place).free
    except OSError as error:
        raise cannot_write(path, error) from error
    if free < size:
        needed, there = file_size(size), file_size(free)
        what = f"too little space for checkpoints in {place}: {needed} are needed, {there} are free"
        raise DitbenchError(what, "free some, or write elsewhere: --out DIR", EXIT_FAILED)
