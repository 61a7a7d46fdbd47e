"""The autoencoder of latents: diffusers' AutoencoderKL."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ditbench.data.dataset import to_model
from ditbench.data.io.files import reason, shown
from ditbench.data.io.limits import MAX_SIDE
from ditbench.data.io.tensors import digest_of
from ditbench.data.latents import MEAN
from ditbench.data.latents.space import LatentSpace
from ditbench.errors import EXIT_FAILED, DitbenchError

# Pixels that pass through the network at once: 16 images of 256x256 need some GiB.
PIXELS_AT_ONCE = 16 * 256 * 256

NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # of a model on the Hugging Face hub
HINT = (
    "pass a folder in which diffusers saved an AutoencoderKL, or a name such as "
    "stabilityai/sd-vae-ft-ema, which is downloaded"
)


class Vae:
    """An autoencoder on a device: uint8 images to posteriors of latents, and latents to images."""

    def __init__(self, net: Any, name: str, device: torch.device | str) -> None:
        self.net = net.to(device).eval().requires_grad_(requires_grad=False)
        self.name = name  # or path that it was loaded from
        self.device = torch.device(device)
        config = net.config
        self.channels: int = config.latent_channels
        self.downsampling = 2 ** (len(config.block_out_channels) - 1)  # pixels per latent and side
        self._scale = config.scaling_factor, getattr(config, "shift_factor", None) or 0.0
        found: list[Any] = [getattr(config, f"latents_{name}", None) for name in ("mean", "std")]
        known = None not in found  # per channel
        self._statistics: list[Any] = [tuple(map(float, each)) if known else None for each in found]

    @staticmethod
    def load(source: Path | str, device: torch.device | str = "cpu") -> Vae:
        """An autoencoder that diffusers saved in a folder, or in a pipeline's folder `vae`.

        A name such as `stabilityai/sd-vae-ft-ema` is downloaded to the cache of diffusers. Raises a
        DitbenchError if diffusers is not installed, or (exit code 1) it cannot be loaded.
        """
        if importlib.util.find_spec("diffusers") is None:
            what = "the autoencoder of latents needs diffusers, which is not installed"
            raise DitbenchError(what, 'pip install "ditbench[latents]"')
        folder = Path(source)
        if (folder / "vae" / "config.json").is_file():
            folder = folder / "vae"
        if not folder.is_dir() and not NAME.fullmatch(str(source)):
            raise DitbenchError(f"no such folder: {shown(source)}", HINT)
        try:
            with _quiet():
                from diffusers import AutoencoderKL  # takes seconds to import

                net: Any = AutoencoderKL
                where = str(folder if folder.is_dir() else source)
                net = net.from_pretrained(where, low_cpu_mem_usage=False)
        except Exception as error:  # networks, damaged files and other classes raise anything
            what = f"cannot load the autoencoder {shown(source)}: {reason(error)}"
            raise DitbenchError(what, HINT, EXIT_FAILED) from error
        return Vae(net.float(), str(source), device)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over weights, as float32, and the factors of its latents."""
        return digest_of(self.net.state_dict(), repr((*self._scale, *self._statistics)))

    def space(self, image_size: int, kind: str = MEAN) -> LatentSpace:
        """The space of latents of images of one size; a DitbenchError if that cannot be encoded."""
        if not 0 < image_size <= MAX_SIDE or image_size % self.downsampling:
            raise DitbenchError(
                f"images of {image_size} pixels cannot be encoded: {shown(self.name)} divides each "
                f"side by {self.downsampling}",
                f"choose a multiple of {self.downsampling}, up to {MAX_SIDE}",
            )
        known = (self.name, self.digest, image_size, *self._scale, self.downsampling, kind)
        return LatentSpace(*known, *self._statistics)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The posterior of uint8 images (N, 1 or 3, H, W): float32 (N, 2C, h, w), on the device.

        The first C channels are its means and the others its standard deviations.
        """
        wanted, parts = self.net.config.in_channels, []
        for batch in images.split(self._at_once(images.shape[-2] * images.shape[-1])):
            x = to_model(batch.to(self.device, non_blocking=True))
            if x.shape[1] == 1:
                x = x.expand(-1, wanted, -1, -1)
            posterior = self.net.encode(x).latent_dist
            parts.append(torch.cat([posterior.mean, posterior.std], dim=1))
        return torch.cat(parts)

    @torch.no_grad()
    def decode(self, latents: Tensor, space: LatentSpace | None = None) -> Tensor:
        """Images of latents x (N, C, h, w) in the range of a model: float32 in [-1, 1], on device.

        `space` maps them to what is decoded; by default the autoencoder's own.
        """
        space = space or self.space(self.downsampling)
        parts, pixels = [], latents.shape[-2] * latents.shape[-1] * self.downsampling**2
        fast = self.device.type == "cuda"  # in bf16: in float16, published decoders overflow
        for batch in latents.split(self._at_once(pixels)):
            z = space.from_model(batch.to(self.device, non_blocking=True))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=fast):
                parts.append(self.net.decode(z).sample.float().clamp(-1, 1))
        return torch.cat(parts)

    def _at_once(self, pixels: int) -> int:
        return max(1, PIXELS_AT_ONCE // pixels)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log lines and warnings of diffusers and its libraries: errors say enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
