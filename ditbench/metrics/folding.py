"""Convolutions with batch normalisation for training, folded into plain ones for use."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NormedConvolution(nn.Module):
    """A convolution that keeps height and width, without a bias, then batch normalisation.

    Args:
        inputs: channels in.
        outputs: channels out.
        size: side of the kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.norm(self.conv(x))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, float32, of the one convolution that does both in evaluation mode."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        scale = self.norm.weight.double() / torch.sqrt(variance.double() + self.norm.eps)
        weight = self.conv.weight.double() * scale.view(-1, 1, 1, 1)
        bias = self.norm.bias.double() - mean.double() * scale
        return weight.float(), bias.float()


@torch.no_grad()
def folded_tensors(net: nn.Module) -> dict[str, Tensor]:
    """The weights of a network as the same one without batch normalisation names them.

    Args:
        net: convolutions by `NormedConvolution`, anything else of one layer each.

    Returns:
        Contiguous float32 tensors on the CPU.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, NormedConvolution):
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = module.folded()
        elif isinstance(module, nn.Linear):
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = module.weight, module.bias
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
