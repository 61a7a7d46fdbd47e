"""Runs that start from weights: of another run, of the released code or of diffusers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from ditbench.config.sections import InitConfig
from ditbench.errors import EXIT_FAILED, DitbenchError
from ditbench.weights.fit import Fit, listed, load, match, shapes_of
from ditbench.weights.read import digest, read_weights
from ditbench.weights.recognise import recognise

RECORD = "init"  # the key in env.json: what of the file was taken


def identified(init: InitConfig) -> dict[str, str]:
    """The section `[init]` with the digest of its file. A run that has begun may have lost it.

    Raises a DitbenchError if the file is not there, or is not the one that `init.sha256` names.
    """
    if init.path is None:
        if init.sha256:
            raise DitbenchError("init.sha256 is given without init.path", "give both, or --init")
        return {}
    if init.sha256 and not init.path.exists():
        return {"path": str(init.path), "sha256": init.sha256}
    found = digest(init.path)
    if init.sha256 not in (None, found):
        what = f"{init.path} is not the file of this configuration: its SHA-256 differs"
        raise DitbenchError(what, "restore the file, or remove init.sha256 from the configuration")
    return {"path": str(init.path), "sha256": found}


def notes_of(init: InitConfig, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What env.json records of the weights for `DiT(**arguments)`; errors are those of `fit_of`."""
    if init.path is None or not init.path.exists():
        return {}
    fit = fit_of(init, arguments)
    null = "; the null class starts fresh" if fit.without_null else ""
    return {
        RECORD: {
            "path": str(init.path.absolute()),
            "loaded": len(fit.loaded),
            "fresh": (listed(fit.fresh) or "nothing") + null,
            "unused": listed(fit.unused) or "nothing",
        }
    }


def in_words(notes: Mapping[str, Any]) -> str | None:
    """What a run starts from, in one line; None for a run that starts from random weights."""
    if (taken := notes.get(RECORD)) is None:
        return None
    return (
        f"{taken['loaded']} weights from {taken['path']}; starts fresh: {taken['fresh']}; "
        f"not used: {taken['unused']}"
    )


def start_from(
    init: InitConfig,
    models: Iterable[nn.Module],
    arguments: Mapping[str, Any],
    *,
    whole: bool = False,
) -> None:
    """Load the weights into models `DiT(**arguments)`. With `whole`, nothing may start fresh.

    Raises a DitbenchError (exit code 1) if the file is gone, has changed or does not fit.
    """
    if init.path is None:
        return
    try:
        if digest(init.path) != init.sha256:
            raise DitbenchError(f"{init.path} has changed since it was planned", "run it again")
        fit = fit_of(init, arguments, whole=whole)
        tensors = read_weights(init.path)
        for model in models:
            load(model, tensors, fit, init.path)
    except DitbenchError as error:
        error.exit_code = EXIT_FAILED
        raise


def fit_of(init: InitConfig, arguments: Mapping[str, Any], *, whole: bool = False) -> Fit:
    """What the model `DiT(**arguments)` takes of the weights. With `whole`, nothing may be fresh.

    A DitbenchError names everything that does not fit; its hint says what the weights are of.
    """
    assert init.path is not None
    try:
        fit = match(arguments, shapes_of(read_weights(init.path, "meta")))
        if whole and fit.missing:
            raise DitbenchError(f"it lacks weights of the model: {listed(fit.missing)}")
    except DitbenchError as error:
        hint = error.hint or f"the file is of {recognise(init.path).name}"
        raise DitbenchError(f"{init.path}: {error.message}", hint) from error
    return fit
