"""Where a run runs: device and precision, and the facts that a reader needs to repeat it."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ditbench import __version__
from ditbench.errors import DitbenchError

PACKAGES = ("torch", "torchvision", "torchmetrics", "numpy", "scipy", "scikit-learn")
# Linux: writing 5 here resets the peak that VmHWM reports.
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def select_device(name: str) -> torch.device:
    """The device of that name, from now on the current one; `auto` takes CUDA where there is one.

    Kernels, streams and recordings belong to the current device, wherever tensors lie.

    Raises:
        DitbenchError: unknown, or not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of devices that torch will no longer know
            device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta`, for one, computes nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DitbenchError(
            f"no device '{name}' on this machine", "use --device auto, cpu, cuda or cuda:1"
        ) from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` is bf16 on CUDA devices that compute in it, fp32 elsewhere."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def device_name(device: torch.device) -> str:
    """The GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def describe(device: torch.device) -> dict[str, Any]:
    """Versions, machine and commit, for env.json."""
    commit, dirty = source_commit()
    return {
        "ditbench": __version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device_name(device),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def source_commit() -> tuple[str | None, bool | None]:
    """Commit and whether the code differs from it; None where ditbench is not run from a clone."""
    source = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may lie inside another project's clone: that commit is not ours.
        git("ls-files", "--error-unmatch", str(Path(__file__)))
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", str(source)))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def reset_peak_memory(device: torch.device) -> None:
    """Start counting peak memory anew, on a GPU without what earlier runs of this process left."""
    if device.type == "cuda":
        # A trainer and the recording of its steps refer to each other: without a search for garbage
        # their memory is free at some time later.
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        try:
            _CLEAR_REFS.write_text("5")
        except OSError:  # a sandbox may forbid it; the peak is then that of the whole process
            return


def peak_memory_bytes(device: torch.device) -> int | None:
    """Since the last reset: allocated on the GPU, or resident in this process on Linux."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
