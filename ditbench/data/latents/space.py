"""What the numbers of latents mean: the autoencoder that made them, and the range of a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from ditbench.data.latents import KINDS, MEAN, MOMENTS, SAMPLE
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError

Count = Annotated[int, Field(strict=True, gt=0)]
Number = Annotated[float, Field(strict=True, gt=-1e6, lt=1e6)]
Kind = Annotated[str, Field(pattern=f"^({'|'.join(KINDS)})$")]


@dataclass(frozen=True)
class LatentSpace:
    """Latents z of an autoencoder, and the map to the range of a model.

    The map is x = ((z - mean) / std - shift_factor) * scaling_factor, with mean and std per
    channel, by default 0 and 1. It is that of diffusers and, with mean and std, of LightningDiT.
    """

    vae: str  # the name or path that the encoder was loaded from; empty if it is not known
    vae_digest: str  # `Vae.digest`; empty if it is not known
    image_size: Count  # both sides of the images, in pixels
    scaling_factor: Number
    shift_factor: Number = 0.0
    downsampling: Count = 8  # pixels per latent, along each side
    kind: Kind = MEAN  # of `KINDS`; moments have 2C channels
    mean: tuple[Number, ...] | None = None  # per channel
    std: tuple[Number, ...] | None = None
    scaled: bool = False  # the files hold x rather than z

    @classmethod
    def of_settings(
        cls,
        settings: Settings,
        shape: tuple[int, ...],
        where: str,
        *,
        scaling_factor: float | None = None,
        image_size: int | None = None,
        **known: Any,
    ) -> LatentSpace:
        """The space of latents (C, h, w) whose files do not say all of it; `where` names them.
        Raises a DitbenchError if settings do not say the size of images, or how to scale, either.
        """
        side = side_of(settings, image_size, where)
        factor = settings.scaling_factor or scaling_factor
        if side is None or factor is None:
            size = "the size of their images: --image-size 256"
            scale = "their scaling factor: --set data.scaling_factor=0.18215, Stable Diffusion's"
            lacks = [text for text, known in ((size, side), (scale, factor)) if known is None]
            what = " and ".join(text.split(":")[0] for text in lacks)
            hint = f"give {' and '.join(lacks)}"
            raise DitbenchError(f"the latents in {where} do not say {what}", hint)
        _, h, w = shape
        if side % max(h, w) or h != w:
            raise DitbenchError(
                f"{where}: latents of {w}x{h} cannot be those of images of {side} pixels",
                f"give a multiple of {max(h, w)}: --image-size {8 * max(h, w)}",
            )
        return cls("", "", side, factor, downsampling=side // h, **known)

    @property
    def moments(self) -> bool:
        """Whether the latents are drawn from their posterior at each use."""
        return self.kind == MOMENTS

    def to_model(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:
        """Stored latents (N, C or 2C, h, w) in the range of a model: float32 (N, C, h, w).

        `noise` (N, C, h, w) draws from the posterior of moments; without it, they give their mean.
        """
        z = latents.to(torch.float32)
        if self.moments:
            z, deviation = z.chunk(2, dim=1)
            if noise is not None:
                z = z + deviation * noise
        return z if self.scaled else self.normalize(z)

    def normalize(self, z: Tensor) -> Tensor:
        """Latents z (N, C, h, w) of the autoencoder in the range of a model."""
        if self.mean is not None and self.std is not None:
            z = (z - _per_channel(self.mean, z.device)) / _per_channel(self.std, z.device)
        return (z - self.shift_factor) * self.scaling_factor

    def from_model(self, x: Tensor) -> Tensor:
        """The inverse of `normalize`: what the autoencoder decodes, float32."""
        z = x.to(torch.float32) / self.scaling_factor + self.shift_factor
        if self.mean is not None and self.std is not None:
            z = z * _per_channel(self.std, z.device) + _per_channel(self.mean, z.device)
        return z

    def in_words(self) -> str:
        """What the latents are of."""
        what = {MEAN: "means", SAMPLE: "draws", MOMENTS: "means and stds that are drawn from"}
        parts = (
            f"of {self.image_size} pixels",
            what[self.kind],
            f"of {self.vae}" if self.vae else "of an autoencoder that is not recorded",
            "scaled already" if self.scaled else f"scaling factor {self.scaling_factor:g}",
            "normalized per channel" if self.mean else "",
        )
        return ", ".join(filter(None, parts))

    def facts(self) -> dict[str, Any]:
        """The space as JSON, which `from_facts` reads."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Any, where: str) -> LatentSpace:
        """The space that `facts`, from the file `where`, describe; a DitbenchError if damaged."""
        wrong = DitbenchError(f"{where} does not describe latents properly", "make it again")
        try:
            space = TypeAdapter(cls).validate_python(facts)
        except ValidationError as error:
            raise wrong from error
        mean, std = (None if each is None else len(each) for each in (space.mean, space.std))
        if mean != std or 0 in (space.scaling_factor, *(space.std or ())):
            raise wrong
        return space


def side_of(settings: Settings, stated: int | None, where: str) -> int | None:
    """The size of the images of latents: that of the files, which settings may repeat, or theirs.
    Raises a DitbenchError if settings and files, which `where` names, contradict each other.
    """
    if stated is not None and settings.image_size not in (None, stated):
        raise DitbenchError(
            f"{where} holds latents of images of {stated} pixels, not of {settings.image_size}",
            "omit --image-size; ditbench encode makes latents of another size",
        )
    return stated or settings.image_size


@cache
def _per_channel(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Cached: while a CUDA graph is recorded, nothing can be copied from the host."""
    return torch.tensor(numbers, dtype=torch.float32, device=device)[:, None, None]
