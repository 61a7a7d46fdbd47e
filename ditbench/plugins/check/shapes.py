"""Shapes of what a strategy takes and gives."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ditbench.models import ops
from ditbench.models.blocks.base import Block, Conditioning
from ditbench.models.stream import Stream
from ditbench.plugins.check.subject import (
    TASKS,
    BrokenPromiseError,
    Subject,
    inputs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ditbench.models.dit import DiT
    from ditbench.plugins.check.subject import Task

# What reads vectors by one stride, and after how many other arguments they come.
_READERS = {"norm": 0, "add": 1, "add_norm": 1}


def of_tokens(subject: Subject) -> str:
    """Blocks and chain keep (N, T, D), of several sizes, numbers of tokens and batches."""
    for task in TASKS:
        model = subject.random_model(task)
        _check_prepared(subject, model, task)
        for block in model.blocks:
            block.register_forward_hook(lambda _m, args, out: _check_block(subject, args[0], out))
        model.final_layer.register_forward_pre_hook(
            lambda _m, args, task=task: _check_tokens(subject, task, args[0])
        )
        with torch.no_grad():
            out = model(*inputs(task))
        if not out.isfinite().all():
            raise BrokenPromiseError(f"{subject.at('forward')}the output of {task} is not finite")
    tokens = ", ".join(str(task.tokens) for task in TASKS)
    widths = ", ".join(str(task.size.hidden_size) for task in TASKS)
    return f"{tokens} tokens of width {widths}"


def of_vectors(subject: Subject) -> str:
    """What modulates is a row an image, read by one stride, and the residual stream float32."""
    model = subject.random_model()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), _watched(subject):
        model(*inputs())
    return "the vectors that modulate are (N, 1, D) and of one stride"


def _check_prepared(subject: Subject, model: DiT, task: Task) -> None:
    """As many things are prepared as there are blocks, where the blocks are told by `prepare`."""
    if subject.strategy.chain.__func__ is not Block.chain.__func__:  # type: ignore[attr-defined]
        return
    _, t, y = inputs(task)
    with torch.no_grad():
        c = Conditioning.of(
            None if model.t_embedder is None else model.t_embedder(t),
            None if model.y_embedder is None else model.y_embedder(y),
        )
        told = c if model.shared is None else model.shared(c)
        prepared = subject.strategy.prepare(list(model.blocks), told)
    if len(prepared) != len(model.blocks):
        raise BrokenPromiseError(
            f"{subject.at('prepare')}prepare gives {len(prepared)} things, expected one for each "
            f"of {len(model.blocks)} blocks",
            "return a list as long as blocks",
        )


def _check_block(subject: Subject, given: Any, out: Any) -> None:
    """A block that is given a stream gives one, of as many tokens; others have other ways."""
    if not isinstance(given, Stream):
        return
    if not isinstance(out, Stream):
        what = f"a Tensor {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise BrokenPromiseError(
            f"{subject.at('forward')}forward returns {what}, expected a Stream "
            f"{tuple(given.x.shape)}",
            "return x.add(branch), or Stream(tokens)",
        )
    expected, received = tuple(given.x.shape), tuple(out.tokens().shape)
    if received != expected:
        raise BrokenPromiseError(
            f"{subject.at('forward')}forward returns tokens {received}, expected {expected}"
        )


def _check_tokens(subject: Subject, task: Task, tokens: Any) -> None:
    """What leaves the chain are the image's tokens, whatever stood behind them."""
    expected = (task.images, task.tokens, task.size.hidden_size)
    received = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
    if received != expected:
        raise BrokenPromiseError(
            f"{subject.at('chain')}tokens of {task}: expected {expected}, received {received}"
        )


@contextmanager
def _watched(subject: Subject) -> Iterator[None]:
    """Within it, what a kernel could not read on a GPU is a broken promise here."""
    plain = {name: getattr(ops, name) for name in _READERS}

    def watch(name: str) -> Any:
        def watched(x: Tensor, *others: Tensor | None, **switches: Any) -> Any:
            _check_vectors(subject, x, [v for v in others[_READERS[name] :] if v is not None])
            return plain[name](x, *others, **switches)

        return watched

    try:
        for name in _READERS:
            setattr(ops, name, watch(name))
        yield
    finally:
        for name, function in plain.items():
            setattr(ops, name, function)


def _check_vectors(subject: Subject, x: Tensor, vectors: list[Tensor]) -> None:
    where = subject.at("prepare")
    if x.dtype != torch.float32:
        raise BrokenPromiseError(f"{subject.at('forward')}the residual stream is {x.dtype}")
    expected = (len(x), 1, x.shape[-1])
    for vector in vectors:
        if tuple(vector.shape) != expected:
            received = tuple(vector.shape)
            raise BrokenPromiseError(f"{where}a vector is {received}, expected {expected}")
    if len({vector.stride(0) for vector in vectors}) > 1:
        raise BrokenPromiseError(f"{where}vectors of one stream have several strides")
    if any(vector.stride(-1) != 1 for vector in vectors):
        raise BrokenPromiseError(f"{where}a vector's numbers do not stand side by side")
