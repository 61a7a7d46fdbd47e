"""What a model costs: parameters and multiply-accumulates, counted without allocating weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ditbench.models.dit import DiT

if TYPE_CHECKING:
    from ditbench.models.sizes import ModelSize

# Forward once, backward twice: the gradient of each product is two products of its size.
TRAINING_PASSES = 3
FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class Cost:
    """The cost of one model.

    Attributes:
        block: the conditioning strategy.
        model: `XL/2`, or hidden x depth x heads / patch.
        input: height x width x channels.
        parameters: trainable ones; the fixed position table is not.
        gmacs: 10^9 multiply-accumulates of one forward pass of one image. The DiT paper calls
            these Gflops.
        gflops: 10^9 floating-point operations, two for each multiply-accumulate.
    """

    block: str
    model: str
    input: str
    parameters: int
    gmacs: float
    gflops: float

    @property
    def train_flops_per_image(self) -> float:
        """Floating-point operations to train on one image: 3 x forward MACs x 2."""
        return TRAINING_PASSES * self.gflops * 1e9

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def count(
    block: str,
    size: ModelSize,
    *,
    height: int,
    width: int,
    channels: int,
    out_channels: int | None = None,
    num_classes: int = 1000,
    mlp_ratio: float = 4.0,
) -> Cost:
    """Count one model on the meta device.

    Args:
        block: the name of a conditioning strategy.
        size: of the model.
        height: of the input.
        width: of the input.
        channels: of the input.
        out_channels: of the output; by default twice `channels`, the paper's learned variance.
        num_classes: 1000 as in the paper.
        mlp_ratio: 4 as in the paper.

    Raises:
        DitbenchError: for an unknown block or a model that cannot be built.
    """
    with torch.device("meta"):
        model = DiT(
            block,
            size,
            height=height,
            width=width,
            channels=channels,
            out_channels=out_channels or 2 * channels,
            num_classes=num_classes,
            mlp_ratio=mlp_ratio,
        )
    macs = forward_flops(model, channels, height, width) / FLOPS_PER_MAC
    return Cost(
        block=block,
        model=size.name,
        input=f"{height}x{width}x{channels}",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=macs / 1e9,
        gflops=FLOPS_PER_MAC * macs / 1e9,
    )


def forward_flops(model: DiT, channels: int, height: int, width: int) -> int:
    """Floating-point operations of one forward pass of one image, by torch's own counter.

    Matrix products and convolutions count; norms, activations and additions do not. Attention is
    counted as its two products: torch counts none in the fused kernel of some devices.
    """
    with torch.device("meta"), torch.no_grad():
        x = torch.empty(1, channels, height, width)
        t, y = torch.empty(1), torch.empty(1, dtype=torch.long)
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):
            model(x, t, y)
    return counter.get_total_flops()
