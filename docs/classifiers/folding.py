"""Batch normalisation for training, folded into the convolutions for use."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NormedConvolution(nn.Module):
    """A convolution without bias, then batch normalisation.

    Args:
        plain: the convolution that it replaces; only its shape is used.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        inputs, outputs, (size, _) = plain.in_channels, plain.out_channels, plain.kernel_size
        self.conv = nn.Conv2d(inputs, outputs, size, padding=plain.padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.norm(self.conv(x))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias, float32, of one convolution equal to both in evaluation mode."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        scale = self.norm.weight.double() / torch.sqrt(variance.double() + self.norm.eps)
        weight = self.conv.weight.double() * scale.view(-1, 1, 1, 1)
        bias = self.norm.bias.double() - mean.double() * scale
        return weight.float(), bias.float()


def with_batch_norm(net: nn.Module) -> nn.Module:
    """Replace every convolution of a network, in place, by a `NormedConvolution`."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(module, name, NormedConvolution(child))
    return net


@torch.no_grad()
def folded_tensors(net: nn.Module) -> dict[str, Tensor]:
    """The weights of a network, named as in the same network without batch normalisation.

    Args:
        net: from `with_batch_norm`; its other layers with weights are linear.

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
