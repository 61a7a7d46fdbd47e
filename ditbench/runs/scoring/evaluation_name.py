"""The names of later evaluations. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditbench.rundir import metric_suffix

if TYPE_CHECKING:
    from ditbench.config import RunConfig


def evaluation_name(config: RunConfig) -> str:
    """The name of a setting, which is also that of its file: `cfg1.5-ddim250-50k-inception`.

    It ends in the first digits that identify the autoencoder and the real images, if any.
    """
    scored = config.eval
    scale = repr(scored.cfg_scale).removesuffix(".0")
    choices = {
        f"{scored.cfg_channels}channels": scored.cfg_channels is not None,
        "clip" if scored.clip else "noclip": scored.clip is not None,
        scored.variance: scored.variance != "small",
        scored.spacing: scored.spacing != "even",
    }
    sampler = "-".join([f"{scored.sampler}{scored.sampling_steps}", *filter(choices.get, choices)])
    name = f"cfg{scale}-{sampler}-{metric_suffix(scored.samples)}-{config.metrics.features}"
    given = filter(None, (config.data.vae_digest, config.metrics.real_digest))
    return "-".join([name, *(digest[:8] for digest in given)])
