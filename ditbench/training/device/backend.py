"""Who computes a model's operations: plain torch, torch.compile, or hand-written kernels.

The plain backend is the definition; the others compute the same to rounding. All run on a GPU as
one CUDA graph per step. The backend is not part of a run's fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ditbench import kernels
from ditbench.errors import EXIT_FAILED, DitbenchError, unknown_name
from ditbench.models.blocks.base import Block
from ditbench.models.dit import DiT
from ditbench.models.ops import PLAIN, Ops
from ditbench.objectives.base import Objective
from ditbench.training.device import compile as compiler

BACKENDS = ("auto", "plain", "compile", "kernels")
# How the system's loader complains about an incomplete library.
_DAMAGED = re.compile(r"(/.+\.so): (file too short|invalid ELF header|.*file data)")


@dataclass(frozen=True)
class Backend:
    """The backend of a run: `plain`, `compile` or `kernels`."""

    name: str
    fallback: str | None = None  # why it is not the preferred one, in one line

    def ops(self, precision: str) -> Ops:
        """The operations to build a model with, for training in a precision other than `auto`."""
        of_backend = {"kernels": kernels.kernel_ops, "compile": kernels.compile_ops}
        ops = of_backend.get(self.name, lambda: PLAIN)()
        fused = self.name == "kernels"
        return kernels.in_fp8(ops, fused=fused) if precision == "fp8" else ops

    @property
    def compiles(self) -> bool:
        """Whether the first steps wait for torch's compiler."""
        return self.name != "plain"

    def prepare(self, models: Sequence[DiT], objective: Objective) -> None:
        """Compile, in place, what this backend compiles."""
        if self.name == "compile":
            for model in models:
                compiler.compile_blocks(model)
        if self.compiles:
            compiler.compile_loss(objective)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss, as `loss.backward()` does."""
        if self.name == "kernels":
            kernels.backward(loss)
        else:
            loss.backward()

    def gradients_ready(self) -> None:
        """Let the current stream wait for gradients that are computed on another one."""
        if self.name == "kernels":
            kernels.wait_for_gradients()

    def describe(self) -> dict[str, Any]:
        """What env.json says about it."""
        return {
            "backend": self.name,
            "backend_fallback": self.fallback,
            "triton": None if self.name == "plain" else package_version("triton"),
        }


PLAIN_BACKEND = Backend("plain")


def choose(
    asked: str, block: type[Block], precision: str, device: torch.device, begun: str | None = None
) -> Backend:
    """The backend of a run.

    `auto` is what a resumed run was `begun` with; plain on a CPU and in float32; in bf16 on a GPU
    kernels for blocks with `Block.fused`, compile for others; in FP8 on a GPU kernels. If that does
    not work here, it is the next simpler one. A DitbenchError for an unknown name, or (exit code 1)
    a backend that is asked for, or a precision, that does not work here.
    """
    if asked not in BACKENDS:
        raise unknown_name("backend", asked, BACKENDS)
    if precision == "fp8" and (reason := kernels.fp8_unavailable_reason(device)):
        what = f"this device cannot multiply matrices in FP8: {reason}"
        hint = "use --precision bf16, or an NVIDIA GPU of 2022 or later (Ada, Hopper, Blackwell)"
        raise DitbenchError(what, hint, EXIT_FAILED)
    if asked != "auto":
        if reason := _unavailable_reason(asked, precision, device):
            raise cannot_run(asked, reason)
        return Backend(asked)
    wanted = begun or "plain"
    if begun is None and device.type == "cuda" and precision != "fp32":
        wanted = "kernels" if block.fused or precision == "fp8" else "compile"
    fallback = None
    for name in BACKENDS[BACKENDS.index(wanted) : 0 : -1]:  # ever simpler ones
        reason = _unavailable_reason(name, precision, device)
        if reason is None:
            return Backend(name, fallback)
        fallback = fallback or f"{name}: {reason}"
    raise AssertionError("plain always works")


def _unavailable_reason(name: str, precision: str, device: torch.device) -> str | None:
    """Why a backend does not work here, or None."""
    if name == "plain":
        return None
    if name == "compile" and precision == "fp8":
        return "it does not compute in FP8"
    if name == "compile":
        return compiler.unavailable_reason(device)
    if precision == "fp32":
        return "they compute in bf16, and the precision is fp32"
    return kernels.unavailable_reason(device)


def cannot_run(name: str, reason: str) -> DitbenchError:
    """The error for a backend that does not work on this machine."""
    if damaged := _DAMAGED.search(reason):
        file = Path(damaged[1])
        return DitbenchError(
            f"torch cannot load what it compiled earlier: {damaged[0]}",
            f"a compilation that was killed leaves such files: delete it, or all of torch's cache "
            f"({file.parent.parent}); --backend plain does not need it",
            EXIT_FAILED,
        )
    return DitbenchError(
        f"the backend {name} does not work here: {reason}",
        "compile needs a C++ compiler on a CPU and Triton on CUDA, kernels an NVIDIA GPU, bf16 and "
        "Triton; --backend auto takes what works",
        EXIT_FAILED,
    )


def package_version(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
