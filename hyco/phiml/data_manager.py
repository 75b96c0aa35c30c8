"""Trajectories of phiml mode: HDF5 on disk, cached as `.h5` arrays, held in memory as named tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import h5py
from phiml.math import Tensor

from hyco import interfaces
from hyco.migration.registry import register
from hyco.phiml.checkpoints import SUFFIX
from hyco.phiml.device import Compute
from hyco.phiml.tensors import NativeArrays
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.atomic import write_bytes
from hyco.storage.caching import CacheEntry, TrajectoryCache
from hyco.storage.memory import TrajectoryMemory


class HDF5Format:
    """Cache entries as `.h5` files: a dataset `trajectory` (field, time, *space), the rest as attributes."""

    suffix = ".h5"

    def write(self, path: Path, entry: CacheEntry) -> None:
        """Write an entry, atomically."""
        image = BytesIO()  # HDF5 crashes the process when the disk is full, so Python writes to the disk
        with h5py.File(image, "w") as file:
            dataset = file.create_dataset("trajectory", data=entry.array)
            dataset.attrs.update(fingerprint=entry.fingerprint, checksum=entry.checksum)
        write_bytes(path, image.getbuffer())

    def read(self, path: Path) -> CacheEntry:
        """Read an entry; raises OSError or ValueError when the file is not one."""
        with self._dataset(path) as dataset:
            return CacheEntry(dataset[:], str(dataset.attrs["fingerprint"]), str(dataset.attrs["checksum"]))

    def read_fingerprint(self, path: Path) -> str:
        """The fingerprint alone, without reading the array."""
        with self._dataset(path) as dataset:
            return str(dataset.attrs["fingerprint"])

    @staticmethod
    @contextmanager
    def _dataset(path: Path) -> Iterator[h5py.Dataset]:
        try:
            with h5py.File(path, "r") as file:
                yield file["trajectory"]
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"not a trajectory cache ({error})") from error


@register("data_manager", "default", "phiml")
class DataManager(interfaces.DataManager):
    """The trajectories of `data_dir`, cached in `cache_dir`, at most `memory_limit_mb` of them in memory.

    Args:
        data_dir, cache_dir: folders of `sim_000000.h5` files, and of their caches.
        grid, layout, dt: what a trajectory must be.
        workers: processes that make caches.
        memory_limit_mb: bound of the trajectories held, and of what all workers take.
        ttl: seconds that a trajectory stays in memory after its last use; None: for ever.
        backend: in which the trajectories are held: `numpy` in main memory, `torch` on the device.
        device, precision: see `hyco.phiml.device.Compute`.
    """

    mode = "phiml"
    suffix = SUFFIX
    cache_format = HDF5Format

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
    ) -> None:
        self.grid = grid
        self.layout = layout
        self.arrays = NativeArrays(layout, Compute(device, precision, backend))
        limit = int(memory_limit_mb * 2**20)
        self._cache = TrajectoryCache(
            data_dir, cache_dir, grid, layout, dt, precision, self.cache_format(), workers, limit
        )
        self._memory: TrajectoryMemory[Tensor] = TrajectoryMemory(limit, ttl)
        self._limit = limit

    def load(self, simulation: int) -> Tensor:
        return self._memory.get(simulation, lambda: self._read(simulation))

    def is_cached(self, simulation: int) -> bool:
        return self._cache.is_cached(simulation)

    def prepare(self, simulations: Sequence[int]) -> None:
        self._cache.prepare(simulations)

    def frames(self, simulation: int) -> int:
        return self._cache.frames(simulation)

    def resident(self, simulations: Sequence[int]) -> int:
        return max(1, self._limit // max(self._cache.nbytes(s) for s in simulations))

    def _read(self, simulation: int) -> tuple[Tensor, int]:
        array = self._cache.load(simulation)
        return self.arrays.trajectory(array[None]), array.nbytes
