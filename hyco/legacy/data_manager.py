"""Trajectories of legacy mode: HDF5 on disk, cached as `.pt` tensors, held in memory on the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hyco import interfaces
from hyco.legacy.checkpoints import SUFFIX, read_tensors
from hyco.legacy.device import Compute
from hyco.legacy.tensors import NativeArrays
from hyco.migration.registry import register
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.atomic import atomic_write
from hyco.storage.caching import CacheEntry, TrajectoryCache
from hyco.storage.memory import TrajectoryMemory
from hyco.storage.sources import Source


class TorchFormat:
    """Cache entries as `.pt` files: {"tensor_data": (field, time, *space), "metadata": {...}}."""

    suffix = ".pt"

    def write(self, path: Path, entry: CacheEntry) -> None:
        """Write an entry, atomically."""
        metadata = {"fingerprint": entry.fingerprint, "checksum": entry.checksum}
        with atomic_write(path) as temporary:
            torch.save({"tensor_data": torch.from_numpy(entry.array), "metadata": metadata}, temporary)

    def read(self, path: Path) -> CacheEntry:
        """Read an entry; raises OSError or ValueError when the file is not one."""
        tensor, metadata = self._content(path)
        return CacheEntry(tensor.numpy(), str(metadata["fingerprint"]), str(metadata["checksum"]))

    def read_fingerprint(self, path: Path) -> str:
        """The fingerprint alone, without reading the array."""
        return str(self._content(path, mmap=True)[1]["fingerprint"])

    @staticmethod
    def _content(path: Path, *, mmap: bool = False) -> tuple[torch.Tensor, dict[str, Any]]:
        content = read_tensors(path, mmap=mmap)
        tensor, metadata = content.get("tensor_data"), content.get("metadata")
        if not isinstance(tensor, torch.Tensor) or not isinstance(metadata, dict):
            raise ValueError("not a trajectory cache")
        if not {"fingerprint", "checksum"} <= metadata.keys():
            raise ValueError("a trajectory cache that does not say what it was made from")
        return tensor, metadata


@register("data_manager", "default", "legacy")
class DataManager(interfaces.DataManager):
    """The trajectories of `data_dir`, cached in `cache_dir`, at most `memory_limit_mb` of them in memory.

    Args:
        data_dir, cache_dir: folders of `sim_000000.h5` files, and of their caches.
        grid, layout, dt: what a trajectory must be.
        workers: processes that make caches.
        memory_limit_mb: bound of the trajectories held, and of what all workers take.
        ttl: seconds that a trajectory stays in memory after its last use; None: for ever.
        backend: of phiml mode's held trajectories; legacy always holds torch tensors.
        device, precision: see `hyco.legacy.device.Compute`.
        source: files of somebody else to read instead of `data_dir`; nothing of them is cached on disk.
    """

    mode = "legacy"
    suffix = SUFFIX
    cache_format = TorchFormat

    def __init__(
        self,
        data_dir: Path,
        cache_dir: Path,
        *,
        grid: Grid,
        layout: FieldLayout,
        dt: float,
        workers: int = 1,
        memory_limit_mb: float = 2048,
        ttl: float | None = None,
        backend: str = "numpy",
        device: str = "auto",
        precision: str = "float32",
        source: Source | None = None,
    ) -> None:
        self.grid = grid
        self.layout = layout
        self.arrays = NativeArrays(layout, Compute(device, precision))
        limit = int(memory_limit_mb * 2**20)
        cache = TrajectoryCache(
            data_dir, cache_dir, grid, layout, dt, precision, self.cache_format(), workers, limit
        )
        self._cache = cache if source is None else source
        self._memory: TrajectoryMemory[torch.Tensor] = TrajectoryMemory(limit, ttl)
        self._limit = limit
        self._source = source

    def load(self, simulation: int) -> torch.Tensor:
        return self._memory.get(simulation, lambda: self._read(simulation))

    def is_cached(self, simulation: int) -> bool:
        return self._cache.is_cached(simulation)

    def prepare(self, simulations: Sequence[int]) -> None:
        self._cache.prepare(simulations)

    def frames(self, simulation: int) -> int:
        return self._cache.frames(simulation)

    def resident(self, simulations: Sequence[int]) -> int:
        return max(1, self._limit // max(self._cache.nbytes(s) for s in simulations))

    def streamed(self, simulations: Sequence[int]) -> Source | None:
        too_large = self._source is not None and sum(map(self._cache.nbytes, simulations)) > self._limit
        return self._source if too_large else None

    def _read(self, simulation: int) -> tuple[torch.Tensor, int]:
        array = self._cache.load(simulation)
        return self.arrays.trajectory(array[np.newaxis]), array.nbytes
