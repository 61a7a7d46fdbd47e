"""Blocks that are computed again in the backward pass, so that it needs less memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint


def recomputed(block: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    """`ops.call` that keeps a block's inputs alone, and computes the rest again when needed.

    Chen et al. 2016, arXiv 1604.06174, section 4. The numbers are the same.
    """
    if not torch.is_grad_enabled():
        return block(*inputs, **named)

    def whole(*inputs: Any, **named: Any) -> Any:
        return tree_map(_computed, block(*inputs, **named))

    inputs, named = tree_map(_computed, (inputs, named))
    # Blocks draw nothing. A CUDA graph could not read the state of torch's generator.
    return checkpoint(whole, *inputs, **named, use_reentrant=False, preserve_rng_state=False)


def _computed(x: Any) -> Any:
    """A tensor in the place of a sum that a kernel would compute later; anything else as it is."""
    pending = not isinstance(x, Tensor) and callable(getattr(x, "tensor", None))
    return x.tensor() if pending else x
