"""Device and precision of a run, and the facts about the machine that env.json records."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import torch

from ditbench import __version__
from ditbench.errors import EXIT_FAILED, LESS_MEMORY, DitbenchError, is_out_of_memory
from ditbench.training.cpu import keep_freed_memory
from ditbench.training.device.backend import package_version
from ditbench.world import local_rank

PACKAGES = ("torch", "torchvision", "torchmetrics", "numpy", "scipy", "scikit-learn")


def select_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA if available. It becomes the current device.

    Streams and CUDA graphs belong to the current device, not to that of the tensors. Raises a
    DitbenchError if the device is unknown, or this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and (rank := local_rank()) is not None:
        name = f"cuda:{rank}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about deprecated devices
            device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` computes nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if is_out_of_memory(error):
            what = f"the device '{name}' has no free memory"
            raise DitbenchError(what, LESS_MEMORY, EXIT_FAILED) from error
        what = f"no device '{name}' on this machine"
        raise DitbenchError(what, "use --device auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def resolve_precision(precision: str, device: torch.device) -> str:
    """Replace `auto`: bf16 on CUDA devices that support it, otherwise fp32."""
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return ("bf16" if has_bf16 else "fp32") if precision == "auto" else precision


def device_name(device: torch.device) -> str:
    """The name of the GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def describe(device: torch.device) -> dict[str, Any]:
    """Versions, machine and commit."""
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
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def source_commit() -> tuple[str | None, bool | None]:
    """The commit, and whether the code differs from it; None outside of a clone of ditbench."""
    source = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may be inside the clone of another project: its commit is not ours.
        git("ls-files", "--error-unmatch", str(Path(__file__)))
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", str(source)))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8", "replace") if cpuinfo.exists() else ""
    found = re.search("^model name.*?:(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor()
