"""A request to stop training, which the loops look at between two steps."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stopped(Exception):  # noqa: N818 (not an error)
    """A run ended early because it was asked to; its state is saved.

    Args:
        number: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Whether the process was asked to stop, and by which signal.

    Attributes:
        number: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested."""
        if self.number is not None:
            raise Stopped(self.number)

    def take(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: note the first signal; raise KeyboardInterrupt at the second."""
        del frame
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
