"""Trajectories of phiml mode: HDF5 on disk, cached as `.h5` arrays, held in memory as named tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import h5py
from numpy.typing import NDArray
from phiml.math import Tensor

from hyco import interfaces
from hyco.migration.registry import register
from hyco.phiml.block import Block, joined
from hyco.phiml.checkpoints import SUFFIX
from hyco.phiml.device import Compute
from hyco.phiml.tensors import NativeArrays
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.atomic import write_bytes
from hyco.storage.caching import CacheEntry, RememberedFacts, TrajectoryCache
from hyco.storage.memory import ReadAhead, TrajectoryMemory
from hyco.storage.sources import Source


class HDF5Format:
    """Cache entries as `.h5` files: a dataset `trajectory` (field, time, *space), the rest as attributes."""

    suffix = ".h5"

    def write(self, path: Path, entry: CacheEntry) -> None:
        """Write an entry, atomically, without waiting for the disk: a damaged one is found and made anew."""
        image = BytesIO()  # HDF5 crashes the process when the disk is full, so Python writes to the disk
        with h5py.File(image, "w") as file:
            dataset = file.create_dataset("trajectory", data=entry.array)
            dataset.attrs.update(fingerprint=entry.fingerprint, checksum=entry.checksum, fits=entry.fits)
        write_bytes(path, image.getbuffer(), durable=False)

    def read(self, path: Path) -> CacheEntry:
        """Read an entry; raises OSError or ValueError when the file is not one."""
        with self._dataset(path) as dataset:
            array, notes = dataset[:], dataset.attrs
            return CacheEntry(array, *(str(notes.get(n, "")) for n in ("fingerprint", "checksum", "fits")))

    def read_fingerprint(self, path: Path) -> str:
        """The fingerprint alone, without reading the array."""
        return self.read_origin(path)[0]

    def read_origin(self, path: Path) -> tuple[str, str]:
        """(fingerprint, fits), without reading the array."""
        with self._dataset(path) as dataset:
            return str(dataset.attrs["fingerprint"]), str(dataset.attrs.get("fits", ""))

    @staticmethod
    @contextmanager
    def _dataset(path: Path) -> Iterator[h5py.Dataset]:
        try:
            # Files are replaced, never changed, and some network file systems cannot lock.
            with h5py.File(path, "r", locking=False) as file:
                yield file["trajectory"]
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"not a trajectory cache ({error})") from error


@dataclass(frozen=True, eq=False)
class _Joined:
    """Trajectories that are held together: their block, and each of them, a view of it."""

    block: Block
    trajectories: dict[int, Tensor]


@register("data_manager", "default", "phiml")
class DataManager(interfaces.DataManager):
    """The trajectories of `data_dir`, cached in `cache_dir`, at most `memory_limit_mb` of them in memory.

    Those of a dataset, where they fit into memory together, are held once, as one block.

    Args:
        data_dir, cache_dir: folders of `sim_000000.h5` files, and of their caches.
        grid, layout, dt: what a trajectory must be.
        workers: processes that make caches.
        memory_limit_mb: bound of the trajectories held, and of what all workers take.
        ttl: seconds that a trajectory stays in memory after its last use; None: for ever.
        backend: in which the trajectories are held: `numpy` in main memory, `torch` on the device.
        device, precision: see `hyco.phiml.device.Compute`.
        source: files of somebody else to read instead of `data_dir`; nothing of them is cached on disk.
    """

    mode = "phiml"
    suffix = SUFFIX
    cache_format = HDF5Format
    arrays: NativeArrays

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
        self.arrays = NativeArrays(layout, Compute(device, precision, backend))
        limit, caches = int(memory_limit_mb * 2**20), self.cache_format()
        cache = TrajectoryCache(
            data_dir,
            cache_dir,
            grid,
            layout,
            dt,
            precision,
            caches,
            workers,
            limit,
            algorithm="xxh3",
            facts=RememberedFacts(),
            origin=caches.read_origin,
        )
        self._cache = cache if source is None else source
        self._memory: TrajectoryMemory[Any] = TrajectoryMemory(limit, ttl)
        self._limit = limit
        self._source = source
        self._homes: dict[int, tuple[int, ...]] = {}  # simulation -> the simulations that it is joined with
        self._readers: list[ReadAhead[int, NDArray[Any]]] = []

    def load(self, simulation: int) -> Tensor:
        found: Tensor | None = self._memory.find(simulation)
        if found is not None:
            return found
        home = self._memory.find(self._homes.get(simulation))
        if home is not None:
            return cast(_Joined, home).trajectories[simulation]
        return cast(Tensor, self._memory.get(simulation, lambda: self._read(simulation)))

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

    def block(self, simulations: tuple[int, ...]) -> Block:
        """These trajectories, one after the other; they must fit into memory together (`resident`)."""
        return self._joined(simulations).block

    @contextmanager
    def reading_ahead(self, simulations: Sequence[int]) -> Iterator[ReadAhead[int, NDArray[Any]]]:
        """Inside, trajectories that will be loaded in this order are read before, as room allows."""
        with ReadAhead(self._memory, simulations, self._cache.load, self._cache.nbytes) as reader:
            self._readers.append(reader)
            try:
                yield reader
            finally:
                self._readers.remove(reader)

    def _read(self, simulation: int) -> tuple[Tensor, int]:
        reader = next((r for r in self._readers if simulation in r), None)
        array = self._cache.load(simulation) if reader is None else reader.take(simulation)
        return self.arrays.trajectory(array[None]), array.nbytes

    def _joined(self, simulations: tuple[int, ...]) -> _Joined:
        found: _Joined = self._memory.get(simulations, lambda: self._join(simulations))
        return found

    def _join(self, simulations: tuple[int, ...]) -> tuple[_Joined, int]:
        """Load trajectories into one block, so that each is held once."""
        frames, nbytes = [self.frames(s) for s in simulations], sum(map(self._cache.nbytes, simulations))
        self._memory.make_room(nbytes)

        def trajectories() -> Iterator[Tensor]:
            for simulation in simulations:
                yield self.load(simulation)
                self._memory.drop(simulation)

        block = joined(self.arrays, trajectories(), frames)
        dims = "batch", "field", "time", *self.layout.axes
        views = [self.arrays.wrap(block.trajectory(i)[None], *dims) for i in range(len(simulations))]
        self._homes.update(dict.fromkeys(simulations, simulations))
        return _Joined(block, dict(zip(simulations, views, strict=True))), nbytes
