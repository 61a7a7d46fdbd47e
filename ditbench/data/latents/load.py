"""Latents at a path, in one of the formats that are recognised by what is in the folder."""

from __future__ import annotations

from pathlib import Path

from ditbench.data import find_folders
from ditbench.data.dataset import ImageDataset
from ditbench.data.io.files import must_exist, shown
from ditbench.data.latents.npy_folder import open_npy_folder
from ditbench.data.latents.shards import EXPECTED, open_shards
from ditbench.data.pictures.settings import DEFAULTS, Settings
from ditbench.errors import DitbenchError


def load_latents(path: Path, settings: Settings = DEFAULTS) -> ImageDataset:
    """The latents of a folder: of `ditbench encode`, of LightningDiT, or of fast-DiT.

    They stay on disk. Of the settings, `image_size` and `scaling_factor` say what files do not. A
    DitbenchError for another format, what neither files nor settings say, or (exit code 1) a
    damaged file.
    """
    must_exist(path)
    if not path.is_dir():
        raise DitbenchError(f"{shown(path)} is not a folder of latents", f"{EXPECTED} in shards")
    known = open_npy_folder if find_folders([each.name for each in path.iterdir()]) else open_shards
    return known(path, settings).dataset()
