"""Peak memory of training."""

from __future__ import annotations

import gc
import re
from contextlib import suppress
from pathlib import Path

import torch

# Linux: writing 5 to the first resets the peak that VmHWM in the second reports.
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """The peak memory between `start` and `stop`, over all such parts.

    On a GPU it is what torch allocated in addition to what was allocated when this object was
    created, so that a feature extractor is not counted. On a CPU it is the resident memory of the
    whole process, which includes libraries and is available on Linux only.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes: int | None = None  # the peak, if it is known
        if device.type == "cuda":
            # A trainer and its CUDA graph refer to each other: without a collection, the memory of
            # an earlier one is freed at some later time.
            gc.collect()
            torch.cuda.empty_cache()
            self._before = torch.cuda.memory_allocated(device)

    def start(self) -> None:
        """Start a part."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif _CLEAR_REFS.exists():
            with suppress(OSError):  # in some sandboxes: the peak includes everything before
                _CLEAR_REFS.write_text("5")

    def stop(self) -> None:
        """End a part."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) - self._before
        elif _STATUS.exists() and (found := re.search(r"VmHWM:\s*(\d+)", _STATUS.read_text())):
            peak = int(found[1]) * 1024
        else:
            return
        self.bytes = max(peak, self.bytes or 0)
