"""Detects a loss or gradient that is not finite, without synchronizing with the device."""

from __future__ import annotations

import torch
from torch import Tensor

from ditbench.errors import EXIT_FAILED, DitbenchError


class Diverged(DitbenchError):  # noqa: N818 (named like Stopped)
    """Training cannot continue; the step of the first bad update is counted from 1."""

    def __init__(self, step: int, loss: float, grad_norm: float, lr: float) -> None:
        super().__init__(
            f"diverged: at step {step} the loss is {loss:.6g} and the norm of the gradient "
            f"{grad_norm:.6g}",
            f"lower the learning rate (--lr {lr / 3:.0e}), clip gradients (--set "
            "train.grad_clip=1) or skip such steps (--set train.on_nonfinite=skip)",
            EXIT_FAILED,
        )
        self.facts = {"step": step, "loss": loss, "grad_norm": grad_norm}


class Sentinel:
    """Checks loss and gradient on the device and prevents bad updates from being applied.

    Reading a value at every step would stall a GPU: the optimizer skips bad updates by itself
    (`found_inf`), and `check` is called when a row of the log is due. With `skip`, only bad updates
    are skipped; without it, the weights stay as before the first one.
    """

    def __init__(self, device: torch.device, *, skip: bool) -> None:
        self.skip = skip
        self.updates = torch.zeros((), dtype=torch.int64, device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self.first = torch.zeros(3, dtype=torch.float64, device=device)

    def __call__(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Whether the next update must not be applied, a bool tensor; state changes in place."""
        self.updates += 1
        bad = ~(torch.isfinite(loss) & torch.isfinite(grad_norm))
        seen = torch.stack([self.updates.double(), loss.double(), grad_norm.double()])
        self.first.copy_(torch.where(bad & (self.count == 0), seen, self.first))
        self.count += bad
        return bad if self.skip else self.count > 0

    def check(self, lr: float) -> None:
        """Raise `Diverged` if training must end. Synchronizes with the device."""
        if not self.skip and self.count.item():
            step, loss, grad_norm = self.first.tolist()
            raise Diverged(int(step), loss, grad_norm, lr)
