"""What happens at a loss or gradient that is not finite, without a wait for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError


@dataclass(frozen=True)
class Divergence:
    """The first update whose loss or gradient was not finite.

    Attributes:
        step: its number, counted from 1 as in train.csv.
        loss: of it.
        grad_norm: of it.
    """

    step: int
    loss: float
    grad_norm: float


class Diverged(DitbenchError):  # noqa: N818 (what happened, as in Stopped)
    """Training cannot go on.

    Args:
        found: where.
        lr: the full learning rate, for the hint.
    """

    def __init__(self, found: Divergence, lr: float) -> None:
        super().__init__(
            f"diverged: at step {found.step} the loss is {found.loss:.6g} and the gradient's "
            f"norm {found.grad_norm:.6g}",
            f"lower the learning rate (--lr {lr / 3:.0e}), clip gradients (--set "
            "train.grad_clip=1) or leave such steps out (--set train.on_nonfinite=skip)",
            EXIT_FAILED,
        )
        self.found = found


class Sentinel:
    """Watches loss and gradient on the device, where it can keep an update from being applied.

    Reading a value of every step would stall a GPU. So the sentinel lives on the device: it tells
    the optimizer to skip (`found_inf`, as gradient scalers do), remembers the first bad update, and
    is read when a row of the log is due.

    Args:
        device: of the model.
        skip: apply the next good update again; otherwise none after the first bad one, so that the
            weights stay those before it.
    """

    def __init__(self, device: torch.device, *, skip: bool) -> None:
        self.skip = skip
        self.updates = torch.zeros((), dtype=torch.int64, device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self.first = torch.zeros(3, dtype=torch.float64, device=device)

    def __call__(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Look at the next update; all that changes is changed in place, as a recording needs.

        Returns:
            Whether it must not be applied: a truth value on the device.
        """
        self.updates += 1
        bad = ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
        seen = torch.stack([self.updates.double(), loss.double(), grad_norm.double()])
        self.first.copy_(torch.where(bad & (self.count == 0), seen, self.first))
        self.count += bad
        return bad if self.skip else self.count > 0

    def divergence(self) -> Divergence | None:
        """The first bad update, if training must end for it. Waits for the device."""
        if self.skip or not self.count.item():
            return None
        step, loss, grad_norm = self.first.tolist()
        return Divergence(int(step), loss, grad_norm)
