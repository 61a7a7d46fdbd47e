"""Augmentation of a batch of small colour images on their device, without a loop over images.

Does to a batch what torchvision's TrivialAugment (Müller & Hutter 2021, arXiv:2103.10158) does to
one image. Each geometric change is an affine map; each change of colour is one of six formulas,
drawn per image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL and torchvision weigh the channels
COLOURS = 6  # the formulas of `recolour`


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed. Lengths are in pixels, shares in [0, 1].

    Attributes:
        shift: the largest shift, in whole pixels; edges are mirrored.
        geometry: share of images that are also rotated, sheared, moved or scaled.
        colour: share of images that are recoloured.
        magnitude: strength of both; at 0 they change nothing.
        cutout: side of the square that is set to grey; 0 is none.
    """

    shift: int = 4
    geometry: float = 0.5
    colour: float = 0.5
    magnitude: float = 1.0
    cutout: int = 16


# At magnitude 1; rotation, shear and translation as in RandAugment.
MAX_ROTATION = 30.0  # degrees
MAX_SHEAR = 0.3
MAX_TRANSLATION = 0.3  # of the side
MAX_SCALE = 0.3
MAX_BLEND = 0.9  # brightness, contrast, saturation and sharpness: 0.1 to 1.9 times


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Mirror, move, distort, recolour and cut out, independently for each image.

    Args:
        images: (N, C, H, W) uint8.
        how: the strengths.
        generator: on the images' device.

    Returns:
        (N, C, H, W) float32 in [-1, 1].
    """
    theta = random_maps(len(images), images.shape[-1], how, generator)
    x = warp(images.to(torch.float32), theta)
    x = recolour(x, *_random_colours(len(images), how, generator))
    return cut_out(x / 127.5 - 1, how.cutout, generator)


def random_maps(count: int, side: int, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw an affine map per image: (N, 2, 3), from coordinates in the result to the original."""
    draws = _uniform((8, count), generator)  # in [-1, 1]
    moved = torch.round(draws[:2] * (how.shift + 0.5 - 1e-4)) * 2 / side  # whole pixels
    strength = draws[2] * how.magnitude
    strength = torch.where(_coins(draws[3], how.geometry), strength, 0.0)
    # One of six per image: rotation, two shears, two translations, scale.
    kind = ((draws[4] + 1) * 3).clamp(max=5.99).to(torch.long)
    kinds = torch.arange(6, device=draws.device).view(6, 1)
    size = strength * (kind == kinds)  # (6, N), one row per kind
    angle = size[0] * (MAX_ROTATION * torch.pi / 180)
    cos, sin, zoom = torch.cos(angle), torch.sin(angle), 1 + MAX_SCALE * size[5]
    mirror = torch.where(draws[5] < 0, -1.0, 1.0)
    rows = (
        mirror * zoom * cos,
        MAX_SHEAR * size[1] - sin,
        moved[0] + 2 * MAX_TRANSLATION * size[3],
        mirror * (MAX_SHEAR * size[2] + sin),
        zoom * cos,
        moved[1] + 2 * MAX_TRANSLATION * size[4],
    )
    return torch.stack(rows, dim=1).view(count, 2, 3)


def warp(x: Tensor, theta: Tensor) -> Tensor:
    """Sample images (N, C, H, W) at affine maps (N, 2, 3), bilinearly; edges are mirrored."""
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def recolour(x: Tensor, kind: Tensor, strength: Tensor) -> Tensor:
    """Change the colours of each image in one way.

    Args:
        x: (N, 3, H, W) in 0..255.
        kind: (N,) which formula: brightness, contrast, saturation, sharpness, solarise, posterise.
        strength: (N,) in [-1, 1]; 0 changes nothing. The last two formulas use its absolute value.
    """
    red, green, blue = x.split(1, dim=1)  # a tensor of weights would be copied to the device
    grey = GREY[0] * red + GREY[1] * green + GREY[2] * blue  # (N, 1, H, W)
    bases = (  # an image is blended with one of these, or moved away from it
        torch.zeros_like(x),
        grey.mean((2, 3), keepdim=True).expand_as(x),
        grey.expand_as(x),
        F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False),
    )
    kind, strength = kind.view(-1, 1, 1, 1), strength.view(-1, 1, 1, 1)
    base = x
    for index, candidate in enumerate(bases):
        base = torch.where(kind == index, candidate, base)
    blended = (base + (1 + MAX_BLEND * strength) * (x - base)).clamp(0, 255)
    solarised = torch.where(x > 255 * (1 - strength.abs()), 255 - x, x)
    step = torch.exp2(torch.round(6 * strength.abs()))  # 1 to 64 of 256 values become one
    posterised = torch.floor(x / step) * step
    posterised = torch.where(step > 1, posterised, x)
    return torch.where(kind == 4, solarised, torch.where(kind == 5, posterised, blended))


def cut_out(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a square around a random pixel of each image to 0 (Cutout, arXiv:1708.04552)."""
    if not side:
        return x
    rows, columns = _box(x, torch.full((2, len(x)), float(side), device=x.device), generator)
    return x.masked_fill(rows & columns, 0.0)


def cut_mix(
    x: Tensor, targets: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Paste a box of the next image into a share of the images (CutMix, arXiv:1905.04899).

    Args:
        x: (N, C, H, W), in random order.
        targets: (N, K), probabilities of the classes.
        share: share of the images that get a box; its area is uniform in [0, 1] before the box is
            cut at the edges.
        generator: on the device of both.

    Returns:
        The images, and the targets mixed in proportion to the visible areas.
    """
    draws = torch.rand((2, len(x)), generator=generator, device=x.device)
    side = x.shape[-1] * draws[0].sqrt() * (draws[1] < share)
    rows, columns = _box(x, torch.stack((side, side)), generator)
    box = rows & columns  # (N, 1, H, W)
    area = box.to(torch.float32).mean((1, 2, 3)).view(-1, 1)
    mixed = torch.where(box, x.roll(1, 0), x)
    return mixed, (1 - area) * targets + area * targets.roll(1, 0)


def _box(x: Tensor, sides: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which rows (N, 1, H, 1) and columns (N, 1, 1, W) lie in a box of `sides` (2, N)."""
    count, _, height, width = x.shape
    centres = torch.rand((2, count), generator=generator, device=x.device)
    inside = []
    for size, centre, length in zip((height, width), centres, sides, strict=True):
        places = torch.arange(size, device=x.device) + 0.5
        away = (places - torch.floor(centre * size).view(-1, 1)).abs()  # (N, size)
        inside.append(away < length.view(-1, 1) / 2)
    return inside[0].view(count, 1, height, 1), inside[1].view(count, 1, 1, width)


def _random_colours(
    count: int, how: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the arguments of `recolour`: kinds (N,) and strengths (N,)."""
    draws = _uniform((3, count), generator)
    kind = ((draws[0] + 1) * (COLOURS / 2)).clamp(max=COLOURS - 0.01).to(torch.long)
    strength = torch.where(_coins(draws[1], how.colour), draws[2] * how.magnitude, 0.0)
    return kind, strength


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) * 2 - 1


def _coins(draws: Tensor, share: float) -> Tensor:
    """True for a share of draws from [-1, 1)."""
    return draws < 2 * share - 1
