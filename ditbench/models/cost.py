"""What a model costs: parameters and multiply-accumulates, counted without allocating weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ditbench.models.dit import DiT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ditbench.models.blocks.base import Block
    from ditbench.models.ops import NormKind
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
    """

    block: str
    model: str
    input: str
    parameters: int
    gmacs: float

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations, two for each multiply-accumulate."""
        return FLOPS_PER_MAC * self.gmacs

    @property
    def train_flops_per_image(self) -> float:
        """Floating-point operations to train on one image: 3 x forward MACs x 2."""
        return TRAINING_PASSES * self.gflops * 1e9

    def as_dict(self) -> dict[str, Any]:
        """The fields and `gflops` as plain values."""
        return {**asdict(self), "gflops": self.gflops}


def count(
    block: type[Block],
    size: ModelSize,
    *,
    name: str,
    height: int,
    width: int,
    channels: int,
    out_channels: int | None = None,
    num_classes: int = 1000,
    mlp_ratio: float = 4.0,
    options: Mapping[str, int] | None = None,
    qk_norm: bool = False,
    norm: NormKind = "layer",
    registers: int = 0,
) -> Cost:
    """Count one model; no weights are allocated.

    Args:
        block: the class of the conditioning block.
        size: of the model.
        name: of the block.
        height: of the input.
        width: of the input.
        channels: of the input.
        out_channels: of the output; by default twice `channels`, the paper's learned variance.
        num_classes: 1000 as in the paper.
        mlp_ratio: 4 as in the paper.
        options: of the block; its defaults where they are left out.
        qk_norm: see `DiT`, like the two that follow.
        norm: see there.
        registers: see there.

    Raises:
        DitbenchError: for a model that cannot be built.
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
            options=options,
            qk_norm=qk_norm,
            norm=norm,
            registers=registers,
        )
    flops = forward_flops(model, channels, height, width)
    return Cost(
        block=name,
        model=size.name,
        input=f"{height}x{width}x{channels}",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=flops / FLOPS_PER_MAC / 1e9,
    )


def forward_flops(model: DiT, channels: int, height: int, width: int) -> int:
    """Floating-point operations of one forward pass of one image.

    Matrix products, convolutions and the two products of attention count, by torch's own formulas;
    norms, activations and additions do not.
    """
    zero = torch.zeros(())
    state = {name: zero.expand(value.shape) for name, value in model.state_dict().items()}
    x = torch.zeros(1, channels, height, width)
    t, y = torch.zeros(1), torch.zeros(1, dtype=torch.long)
    with torch.no_grad(), ProductCounter() as counter:
        functional_call(model, state, (x, t, y))
    return counter.flops


class ProductCounter(TorchDispatchMode):
    """Counts floating-point operations and leaves the products out: their results are zeros.

    `FlopCounterMode` on the meta device counts the same (a test holds one against the other), but
    the first operation there imports torch's compiler, a second or more of every start.
    Here weights are views of one zero, as cheap as on meta, and what little is not a product runs.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping what follows for its compiler, which would import it."""
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count one operation, and run it unless its result's shape is all that matters."""
        kwargs = kwargs or {}
        if func is _FUSED_ATTENTION:
            return self._attention(*args[:3])
        shape = _PRODUCTS.get(func)
        if func in _JOINING:
            return _zeros(_JOINING[func](*args), like=args[0][0])
        out = func(*args, **kwargs) if shape is None else _zeros(shape(*args), like=args[-1])
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out

    def _attention(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The CPU's fused kernel, which torch's registry does not know: (N, heads, T, d) each."""
        self.flops += int(sdpa_flop_count(q.shape, k.shape, v.shape))
        return _zeros((*q.shape[:-1], v.shape[-1]), like=q), _zeros(q.shape[:-1], like=q)


_FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_PRODUCTS: dict[Any, Callable[..., tuple[int, ...]]] = {
    torch.ops.aten.mm.default: lambda a, b: (a.shape[0], b.shape[1]),
    torch.ops.aten.addmm.default: lambda _, a, b: (a.shape[0], b.shape[1]),
    torch.ops.aten.bmm.default: lambda a, b: (*a.shape[:2], b.shape[2]),
}


def _joined_shape(parts: list[Tensor], dim: int = 0) -> tuple[int, ...]:
    """The shape of tensors joined along a dimension that they have."""
    shape = list(parts[0].shape)
    shape[dim] = sum(part.shape[dim] for part in parts)
    return tuple(shape)


def _stacked_shape(parts: list[Tensor], dim: int = 0) -> tuple[int, ...]:
    """The shape of tensors joined along a dimension of their own."""
    shape = list(parts[0].shape)
    shape.insert(dim % (len(shape) + 1), len(parts))
    return tuple(shape)


# The weights of all blocks in one would be gigabytes.
_JOINING: dict[Any, Callable[..., tuple[int, ...]]] = {
    torch.ops.aten.cat.default: _joined_shape,
    torch.ops.aten.stack.default: _stacked_shape,
}


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return like.new_zeros(()).expand(shape)
