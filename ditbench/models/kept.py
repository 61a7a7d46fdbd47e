"""What autograd keeps of a forward pass for the backward pass, counted without computing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from ditbench.models.cost import ProductCounter
from ditbench.models.dit import DiT
from ditbench.models.ops import Ops

aten = torch.ops.aten
HALF = torch.bfloat16


class Kept(NamedTuple):
    """Bytes that are kept of one forward pass."""

    around: int  # of what is around the blocks, and what each block receives
    blocks: int  # of the inside of all blocks
    block: int  # of the inside of the largest one

    def plus(self, times: int, other: Kept) -> Kept:
        """The sum of this and so many times the other, in each."""
        return Kept(*(one + times * two for one, two in zip(self, other, strict=True)))


def count_kept(arguments: Mapping[str, Any], images: int, *, half: bool, fused: bool) -> Kept:
    """Count for a batch of so many images; the arguments are those of `DiT`.

    With `half`, products are computed in bf16, by autocast; operations then keep what compiled code
    and kernels keep if they are `fused`. A DitbenchError for a model that cannot be built.
    """
    tally = _Tally()
    ops = _fused(tally.call) if half and fused else Ops(call=tally.call)
    with torch.device("meta"):
        model = DiT(**arguments, ops=ops)
    zero = torch.zeros(())  # see `cost.count`
    tally.ignore(zero)
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        state[name] = zero.expand(value.shape).requires_grad_(value.requires_grad)
    x = torch.zeros(images, *model.input_shape)
    t, y = torch.zeros(images), torch.zeros(images, dtype=torch.long)
    with (
        torch.enable_grad(),
        torch.autocast("cpu", HALF, enabled=half),
        torch.autograd.graph.saved_tensors_hooks(tally.keep, lambda tensor: tensor),
        _Unfilled(),  # type: ignore[no-untyped-call]
    ):
        functional_call(model, state, (x, t, y))
    return tally.total()


class _Unfilled(ProductCounter):
    """The results of products, and of casts, have memory of their own but no values."""

    def result(self, like: Tensor, *shape: int) -> Tensor:
        return like.new_empty(shape)

    def __torch_dispatch__(
        self, func: Any, types: object, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket is aten._to_copy:  # of a weight, as a rule
            return torch.empty_like(args[0], dtype=(kwargs or {}).get("dtype"))
        return super().__torch_dispatch__(func, types, args, kwargs)


class _Tally:
    """The storages that are kept, each with its size and the block that kept it first."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[int, int]] = {}  # by address: bytes, and the block or 0
        self._alive: list[Tensor] = []  # or an address could be used again
        self._block = self._blocks = 0

    def ignore(self, tensor: Tensor) -> None:
        """Do not count this tensor, nor its views."""
        self._kept[tensor.untyped_storage().data_ptr()] = 0, 0

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept."""
        storage = tensor.untyped_storage()
        self._kept.setdefault(storage.data_ptr(), (storage.nbytes(), self._block))
        self._alive.append(tensor)
        return tensor

    def call(self, block: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
        """`ops.call`: what a block receives is kept outside of it."""
        for each in tree_leaves((inputs, named)):
            if isinstance(each, Tensor):
                self.keep(each)
        self._blocks += 1
        self._block = self._blocks
        out = block(*inputs, **named)
        self._block = 0
        return out

    def total(self) -> Kept:
        """The sums; frees the memory: the model refers to this tally and it to the tensors."""
        self._alive.clear()
        bytes_of = dict.fromkeys(range(self._blocks + 1), 0)
        for size, block in self._kept.values():
            bytes_of[block] += size
        around = bytes_of.pop(0)
        return Kept(around, sum(bytes_of.values()), max(bytes_of.values()))


class _Keep(torch.autograd.Function):
    """A result without values, of which autograd keeps some tensors."""

    @staticmethod
    def forward(ctx: Any, like: Tensor, channels: int, dtype: torch.dtype, *kept: Tensor) -> Tensor:
        ctx.save_for_backward(*kept)
        return like.new_empty(*like.shape[:-1], channels, dtype=dtype)


def _keeping(like: Tensor, channels: int, dtype: torch.dtype, *kept: Tensor | None) -> Tensor:
    return _Keep.apply(like, channels, dtype, *[each for each in kept if each is not None])


def _fused(calling: Callable[..., Any]) -> Ops:
    """Operations in half precision that keep what `ditbench.kernels` keep, and compute nothing."""

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x, weight = x.to(HALF), weight.to(HALF)
        return _keeping(x, len(weight), HALF, x, weight, bias)

    def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        hidden = linear(x, weight, bias)
        return _keeping(hidden, hidden.shape[-1], HALF, hidden)

    def norm(x: Tensor, shift: Any = None, scale: Any = None, kind: str = "layer") -> Tensor:
        del shift, kind
        return _keeping(x, x.shape[-1], HALF, x, scale)

    def add(x: Tensor, h: Tensor, gate: Tensor | None = None) -> Tensor:
        return _keeping(x, x.shape[-1], x.dtype, h.to(HALF), gate)

    def attention(qkv: Tensor, num_heads: int) -> Tensor:
        del num_heads
        return _keeping(qkv, qkv.shape[-1] // 3, qkv.dtype, qkv)

    def cross_attention(q: Tensor, kv: Tensor, num_heads: int) -> Tensor:
        del num_heads
        return _keeping(q, q.shape[-1], q.dtype, q, kv)

    return Ops(linear, linear_gelu, norm, add, attention, cross_attention, calling)
