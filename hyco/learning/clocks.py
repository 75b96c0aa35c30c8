"""What a piece of work took: seconds, and the memory of the process."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path


def timing(began: float) -> dict[str, float]:
    """Seconds since `began` (by `time.perf_counter`), and the peak memory of the process so far."""
    return {"seconds": time.perf_counter() - began, "peak_memory_mb": peak_memory_mb()}


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MiB.

    The kernel's own mark is taken where there is one: what `getrusage` says of a process that another one
    started begins at the peak of the other.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
