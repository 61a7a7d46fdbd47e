"""What a model costs: parameters and multiply-accumulates, counted without allocating weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ditbench.models.blocks.base import Block
from ditbench.models.dit import DiT
from ditbench.models.sizes import ModelSize

aten = torch.ops.aten
# Forward once, backward twice: the gradient of each product is two products of its size.
TRAINING_PASSES = 3
FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class Cost:
    """The cost of one model."""

    model: str  # `XL/2`, or hidden x depth x heads / patch
    input: str  # height x width x channels
    parameters: int  # trainable ones; the fixed position table is not
    gmacs: float  # 10^9 multiply-accumulates per image, forward; the DiT paper calls them Gflops

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations, two for each multiply-accumulate."""
        return FLOPS_PER_MAC * self.gmacs

    @property
    def train_flops_per_image(self) -> float:
        """Floating-point operations to train on one image: 3 x forward MACs x 2."""
        return TRAINING_PASSES * self.gflops * 1e9

    def as_dict(self) -> dict[str, Any]:
        """The fields and `gflops`, by name."""
        return {**asdict(self), "gflops": self.gflops}


def count(
    block: type[Block],
    size: ModelSize,
    *,
    height: int,
    width: int,
    channels: int,
    out_channels: int | None = None,
    num_classes: int = 1000,
    **switches: Any,
) -> Cost:
    """Count one model; the arguments are those of `DiT`, by default those of the paper's ImageNet.

    Products of matrices and of attention and convolutions count, by torch's own formulas; norms,
    activations and additions do not. A DitbenchError for a model that cannot be built.
    """
    switches |= {"height": height, "width": width, "channels": channels, "num_classes": num_classes}
    with torch.device("meta"):
        model = DiT(block, size, out_channels=out_channels or 2 * channels, **switches)
    zero = torch.zeros(())  # weights that are views of one number need no memory
    state = {name: zero.expand(value.shape) for name, value in model.state_dict().items()}
    image = torch.zeros(1, channels, height, width)
    with torch.no_grad(), ProductCounter() as counter:  # type: ignore[no-untyped-call]
        functional_call(model, state, (image, torch.zeros(1), torch.zeros(1, dtype=torch.long)))
    return Cost(
        model=size.name,
        input=f"{height}x{width}x{channels}",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=counter.flops / FLOPS_PER_MAC / 1e9,
    )


class ProductCounter(TorchDispatchMode):
    """Counts floating-point operations. Products are not computed: their results are zeros.

    `FlopCounterMode` on the meta device counts the same (a test compares them), but the first
    operation there imports torch's compiler, which takes a second. Other operations are computed,
    by one thread: on a busy CPU, several would wait for each other at the end of each.
    """

    flops = 0

    def __enter__(self) -> Self:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self._threads)
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def result(self, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """The result of a product, which a block may modify."""
        return like.new_zeros(shape)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import the compiler too

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operation, kwargs = func.overloadpacket, kwargs or {}
        if operation is aten._scaled_dot_product_flash_attention_for_cpu:  # not in the registry
            q, k, v = args[:3]
            self.flops += int(sdpa_flop_count(q.shape, k.shape, v.shape))
            N, h, T, _ = q.shape
            sums = self.result(q.float(), N, h, T)
            return self.result(q, N, T, h, v.shape[-1]).transpose(1, 2), sums  # as torch lays it
        if operation in (aten.mm, aten.addmm, aten.bmm):
            left, right = args[-2:]
            out = self.result(left, *left.shape[:-1], right.shape[-1])
        elif operation is aten.gelu:  # no product, but a third of the time
            out = self.result(args[0], *args[0].shape)
        else:
            out = func(*args, **kwargs)
        if operation in flop_registry:
            self.flops += flop_registry[operation](*args, **kwargs, out_val=out)
        return out
