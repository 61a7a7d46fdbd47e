"""Unfinished runs whose images have changed since: the same command does not resume them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ditbench.config import read_toml, validate
from ditbench.errors import DitbenchError
from ditbench.rundir import RunDirectory

if TYPE_CHECKING:
    from ditbench.runs.plan import Plan


def run_on_other_images(run: Plan) -> RunDirectory | None:
    """An unfinished run that differs from this one in nothing but the digest of its images."""
    for path in sorted(run.directory.path.parent.glob(f"seed{run.config.seed}-*")):
        other = RunDirectory(path)
        if not other.config.is_file() or other.is_complete() or path == run.directory.path:
            continue
        with suppress(DitbenchError):  # a damaged file is reported where that run is read
            config = validate(read_toml(other.config))
            alike = config.with_values(data__digest=run.config.data.digest)
            if alike.fingerprint == run.config.fingerprint:
                return other
    return None
