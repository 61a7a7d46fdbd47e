"""Names of model sizes: the paper's `S/4` and the free form `256x8x4/2`. Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from ditbench.errors import DitbenchError, unknown_name

# Depth x hidden size x heads of DiT-S, B, L and XL (Peebles & Xie 2022, Table 1).
SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
PATCH_SIZES = (1, 2, 4, 8)
# Far beyond any DiT, and small enough that no product of them overflows.
MAX_DIMENSION = 65_536
# Two models are of equal size if their parameters, or their FLOPs, differ by at most this share.
TOLERANCE = 0.03
# Nine digits are more than any size that can be counted.
_FREE_FORM = re.compile(r"(\d{1,9})x(\d{1,9})x(\d{1,9})/(\d{1,9})", re.ASCII)
_PATCH = re.compile(r"\d{1,9}", re.ASCII)
_INPUT = re.compile(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class ModelSize:
    """What a model's name says: hidden size D, number of blocks, attention heads, patch size."""

    hidden_size: int
    depth: int
    num_heads: int
    patch_size: int

    @property
    def name(self) -> str:
        """The shortest name: `S/4` where the paper has one, `64x4x4/2` elsewhere."""
        for size, dimensions in SIZES.items():
            if dimensions == (self.hidden_size, self.depth, self.num_heads):
                return f"{size}/{self.patch_size}"
        return f"{self.hidden_size}x{self.depth}x{self.num_heads}/{self.patch_size}"


def parse_model(name: str) -> ModelSize:
    """Read `XL/2`, or `hidden x depth x heads / patch` written as `256x8x4/2`.

    A DitbenchError for a name of neither form offers the nearest names.
    """
    text = name.strip().lower()
    free_form = _FREE_FORM.fullmatch(text)
    if free_form and all(map(int, free_form.groups())):
        return ModelSize(*map(int, free_form.groups()))
    size, _, patch = text.upper().partition("/")
    if size in SIZES and _PATCH.fullmatch(patch) and int(patch) > 0:
        return ModelSize(*SIZES[size], patch_size=int(patch))
    error = unknown_name("model", name, [f"{size}/{P}" for size in SIZES for P in PATCH_SIZES])
    hint = (error.hint or "").removesuffix("?")
    raise DitbenchError(error.message, f"{hint}, or hidden x depth x heads / patch: 256x8x4/2")


def parse_input(text: str) -> tuple[int, int, int]:
    """Read `32x32x4` as (height, width, channels); a DitbenchError for anything else."""
    match = _INPUT.fullmatch(text.strip().lower())
    if match is None or "0" in match.groups():
        what = f"'{text}' is not an input size"
        raise DitbenchError(what, "write height x width x channels: 32x32x4")
    height, width, channels = map(int, match.groups())
    return height, width, channels


def match_width(size: ModelSize, amount: Callable[[ModelSize], float], target: float) -> ModelSize:
    """The model of the depth and patch size of `size` whose amount is nearest to a target.

    Its width D changes by whole heads of the same width d = D / h. If that is not within
    `TOLERANCE`, the number of heads h stays and d changes, which are smaller steps. `amount` counts
    parameters or FLOPs, which increase with D.
    """
    h, d = size.num_heads, size.hidden_size // size.num_heads
    amount = cache(amount)
    # Most weights and products grow with the square of the width.
    guess = size.hidden_size * math.sqrt(target / amount(size))

    def error(found: ModelSize) -> float:
        return abs(amount(found) / target - 1)

    def nearest(of_width: Callable[[int], ModelSize], divisor: int) -> ModelSize:
        step = math.lcm(divisor, 4)  # 2-D sine-cosine positions need a multiple of 4
        above = max(1, round(guess / step)) * step
        while amount(of_width(above)) < target:
            above += step
        while above > step and amount(of_width(above - step)) >= target:
            above -= step
        return min((of_width(D) for D in (above - step, above) if D), key=error)

    by_heads = nearest(lambda D: replace(size, hidden_size=D, num_heads=D // d), d)
    if error(by_heads) <= TOLERANCE:
        return by_heads
    return min(by_heads, nearest(lambda D: replace(size, hidden_size=D), h), key=error)


def check_size(size: ModelSize, height: int, width: int) -> None:
    """A DitbenchError if P does not divide the input, h or 4 not D, or the model is too large."""
    P, D = size.patch_size, size.hidden_size
    if max(D, size.depth, height // P * (width // P)) > MAX_DIMENSION:
        raise DitbenchError(
            f"{size.name} on {height}x{width} is too large",
            f"hidden size, depth and number of tokens can be at most {MAX_DIMENSION:,}",
        )
    if height % P or width % P:
        nearest = replace(size, patch_size=_nearest_patch_size(P, height, width))
        what = f"patch size {P} does not divide {height}x{width}"
        raise DitbenchError(what, f"choose one that does: --model {nearest.name}")
    if D % size.num_heads:
        what = f"{size.num_heads} heads do not divide hidden size {D}"
        raise DitbenchError(what, "choose a hidden size that is a multiple of the number of heads")
    if D % 4:
        what = f"hidden size {D} is not a multiple of 4"
        raise DitbenchError(what, "choose a multiple of 4: 2-D sine-cosine positions need it")


def _nearest_patch_size(P: int, height: int, width: int) -> int:
    """The patch size closest to P in ratio that divides an input; 1 only if no other is useful."""
    largest = math.gcd(height, width)
    small = [size for size in range(1, math.isqrt(largest) + 1) if largest % size == 0]
    useful = {size for each in small for size in (each, largest // each)} - {1}
    if height == width:
        useful.discard(largest)  # one token for the whole image
    return min(sorted(useful), key=lambda size: max(size / P, P / size), default=1)
