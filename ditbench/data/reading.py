"""How many pictures are read, for whoever shows it: many take minutes. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Show = Callable[[int, int], None]  # receives the number of pictures that are read, and of all

_show: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Within it, `show` is called after each picture that is read."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)


def followed(pictures: Iterable[T], total: int) -> Iterator[T]:
    """The pictures, whose number is `total`, as they are read; each is reported to `shown_by`."""
    show = _show.get()
    for done, picture in enumerate(pictures, 1):
        yield picture
        if show is not None:
            show(done, total)
