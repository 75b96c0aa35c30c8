"""What the times were taken on, for the table: processor, threads, memory, load, versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

PACKAGES = ("hyco", "torch", "phiflow", "phiml", "numpy", "scipy", "h5py")


def load() -> float | None:
    """Processes that ran or waited during the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def describe(processor: str | None, device: str = "cpu") -> dict[str, Any]:
    """Facts by name; `processor` as pytest-benchmark found it, `device` as PyTorch calls it."""
    import torch

    accelerated = device != "cpu" and torch.cuda.is_available()
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": processor or platform.processor() or platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "accelerator": torch.cuda.get_device_name(device) if accelerated else None,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
