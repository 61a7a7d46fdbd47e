"""The features of a run that asks for `auto`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ditbench.config import RunConfig, read_toml, validate
from ditbench.data.latents.npz import are_latents
from ditbench.distances import LATENTS
from ditbench.errors import DitbenchError
from ditbench.metrics import AUTO, GENERAL, at_hand
from ditbench.metrics.reference import OF, is_published
from ditbench.rundir import TUNING


def choose_features(config: RunConfig, out: Path | None = None) -> tuple[str, str]:
    """The name of a run's features, and why these, in words; empty if the configuration has it.

    `auto` stands for those of the earliest run of the same data set and preset in `out`: weights
    that arrive later must not turn the same command into other runs. Without such a run, it is what
    this machine has, or a DitbenchError. Scores in other features are other numbers, so features
    identify a run: their name is recorded, never `auto`.
    """
    if config.metrics.features != AUTO:
        return config.metrics.features, ""
    if config.data.vae is None and are_latents(config.data.name, config.data.path):
        return LATENTS, "as there is no autoencoder to decode them: --vae PATH"
    if is_published(config.metrics.real):
        return OF, f"as those of {config.metrics.real}"
    if out is not None and (name := _features_before(config, out)):
        return name, f"as in earlier runs in {out / config.preset}"
    return at_hand(config.data.name, config.metrics.inception_weights)


def _features_before(config: RunConfig, out: Path) -> str | None:
    places = (out / config.preset, out / TUNING / config.preset)
    files = [file for place in places for file in place.glob("*/*/config.toml")]
    for file in sorted(files, key=lambda file: (file.stat().st_mtime, file)):
        with suppress(DitbenchError):  # a damaged file is reported where that run is read
            before = validate(read_toml(file))
            if before.data.name == config.data.name and before.metrics.features in GENERAL:
                return before.metrics.features
    return None
