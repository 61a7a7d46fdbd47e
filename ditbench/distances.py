"""The names of the distances of samples to real images. Those of latents are not FID and KID.

In run directories they have names of their own. Tables and figures find them under the keys `fid`
and `kid`, and print their titles. Torch-free.
"""

from __future__ import annotations

from collections.abc import Container

LATENTS = "latents"  # the features of latents that are not decoded
OF_LATENTS = {"fid": "latent_fd", "kid": "latent_kd"}
TITLES = {"fid": "FID", "kid": "KID", "latent_fd": "Latent FD", "latent_kd": "Latent KD"}
_KEYS = {name: key for key, name in OF_LATENTS.items()}


def key_of(name: str) -> str:
    """The key under which tables find a metric: `fid` for `latent_fd`."""
    return _KEYS.get(name, name)


def title_of(key: str, features: object) -> str:
    """The title of `fid` or `kid` in some features."""
    return TITLES[OF_LATENTS[key] if features == LATENTS else key]


def column_of(key: str, suffix: str, row: Container[str]) -> str:
    """The column of `fid` or `kid` in a row of eval.csv; `suffix` is the number of samples."""
    own = f"{OF_LATENTS[key]}_{suffix}"
    return own if own in row else f"{key}_{suffix}"
