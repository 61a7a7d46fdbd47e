"""Peak memory of training."""

from __future__ import annotations

import gc
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

    Args:
        device: where training takes place.

    Attributes:
        bytes: the peak, or None if it is not known.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes: int | None = None
        self._before = 0
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
            try:
                _CLEAR_REFS.write_text("5")
            except OSError:  # forbidden in some sandboxes: the peak includes everything before
                return

    def stop(self) -> None:
        """End a part."""
        peak = self._peak()
        if peak is not None:
            self.bytes = max(peak, self.bytes or 0)

    def _peak(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self._before
        if not _STATUS.exists():
            return None
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
