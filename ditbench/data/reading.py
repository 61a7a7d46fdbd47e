"""The progress of reading pictures, which may take minutes. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Show = Callable[[int, int], None]  # receives how many pictures are read, and how many there are

_show: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """A context in which `show` is called after each picture that is read."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


def followed(pictures: Iterable[T], total: int) -> Iterator[T]:
    """Iterate over `total` pictures, and report each to the function of `shown_by`, if any."""
    show = _show.get()
    for done, picture in enumerate(pictures, 1):
        yield picture
        if show is not None:
            show(done, total)
