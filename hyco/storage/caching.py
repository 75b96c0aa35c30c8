"""Caches of trajectories: one file each, in a format that the mode chooses, valid for exactly one source.

A cache carries the fingerprint of what it was made from (the trajectory file and the precision) and a
checksum of what it holds.  One that does not match or cannot be read is made anew, with a warning.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.fingerprint import fingerprint
from hyco.storage.hdf5 import read_facts, read_trajectory, simulation_path
from hyco.storage.trajectory_facts import check_facts

log = logging.getLogger("hyco.data")
STALE = "stale: unreadable, or made from another file or in another precision"


@dataclass(frozen=True)
class CacheEntry:
    """A cached trajectory (field, time, *space), and what it was made from."""

    array: NDArray[Any]
    fingerprint: str
    checksum: str


class CacheFormat(Protocol):
    """How a mode stores a cache entry; instances are sent to worker processes."""

    suffix: str

    def write(self, path: Path, entry: CacheEntry) -> None:
        """Write an entry, atomically."""

    def read(self, path: Path) -> CacheEntry:
        """Read an entry; raises OSError or ValueError when the file is not one."""

    def read_fingerprint(self, path: Path) -> str:
        """The fingerprint alone, without reading the array."""


@dataclass(frozen=True)
class TrajectoryCache:
    """The trajectories of one data folder, through a cache folder.

    Args:
        data_dir, cache_dir: where trajectories are, and where their caches go.
        grid, layout, dt: what a trajectory must be; anything else is a DataError.
        precision: of the cached arrays.
        format: of the cache files.
        workers: processes that make caches; 0 and 1 work in this process.
        limit_bytes: memory that all workers together may take.
    """

    data_dir: Path
    cache_dir: Path
    grid: Grid
    layout: FieldLayout
    dt: float
    precision: str
    format: CacheFormat
    workers: int = 1
    limit_bytes: int = 2 << 30

    def frames(self, simulation: int) -> int:
        """Frames of a trajectory, without loading it."""
        return read_facts(simulation_path(self.data_dir, simulation)).frames

    def nbytes(self, simulation: int) -> int:
        """Size of a trajectory in memory."""
        values = self.frames(simulation) * len(self.layout.components) * self.grid.cells
        return values * np.dtype(self.precision).itemsize

    def path(self, simulation: int) -> Path:
        """The cache file of a trajectory."""
        return self.cache_dir / simulation_path(Path(), simulation).with_suffix(self.format.suffix).name

    def is_cached(self, simulation: int) -> bool:
        """Whether a cache exists that was made from the trajectory as it is now."""
        return self._state(simulation) == "valid"

    def load(self, simulation: int) -> NDArray[Any]:
        """The trajectory (field, time, *space): from its cache, which is made or made anew where needed."""
        state = self._state(simulation)
        if state == "stale":
            self._warn(simulation, STALE)
        elif state == "valid":
            try:
                entry = self.format.read(self.path(simulation))
                if checksum(entry.array) != entry.checksum:
                    raise ValueError("its checksum does not match")
            except (OSError, ValueError) as error:
                self._warn(simulation, f"damaged ({error})")
            else:
                log.debug("sim_%06d: loaded from cache %s", simulation, self.path(simulation))
                return entry.array
        return self.build(simulation)

    def build(self, simulation: int) -> NDArray[Any]:
        """Read the trajectory itself, check it, and write its cache."""
        source = simulation_path(self.data_dir, simulation)
        array = read_trajectory(source, grid=self.grid, layout=self.layout, dt=self.dt)
        array = np.ascontiguousarray(array, dtype=self.precision)
        self.format.write(
            self.path(simulation), CacheEntry(array, self._expected(simulation), checksum(array))
        )
        return array

    def prepare(self, simulations: Sequence[int]) -> None:
        """Make the caches that are missing or stale, in parallel where `workers` and the memory allow it."""
        states = {s: self._state(s) for s in dict.fromkeys(simulations)}
        todo = [s for s, state in states.items() if state != "valid"]
        for s in todo:
            if states[s] == "stale":
                self._warn(s, STALE)
        ready = len(states) - len(todo)
        if ready:
            log.info(
                "%d of %d trajectories are loaded from the cache in %s", ready, len(states), self.cache_dir
            )
        if not todo:
            return
        log.info("caching %d trajectories in %s", len(todo), self.cache_dir)
        affordable = self.limit_bytes // max(1, 3 * max(self.nbytes(s) for s in todo))
        processes = min(self.workers, len(todo), max(1, affordable))
        if processes <= 1:
            for s in todo:
                self.build(s)
            return
        context = multiprocessing.get_context("spawn")  # forking a process that runs threads can deadlock
        with ProcessPoolExecutor(processes, context, initializer=_ignore_interrupts) as pool:
            list(pool.map(_build_one, [(self, s) for s in todo]))

    def _expected(self, simulation: int) -> str:
        source = simulation_path(self.data_dir, simulation)
        facts = read_facts(source)
        check_facts(source, facts, grid=self.grid, layout=self.layout, dt=self.dt)
        status = source.stat()
        return fingerprint(
            {
                "generated from": facts.fingerprint,
                "size": status.st_size,
                "changed": status.st_mtime_ns,
                "precision": self.precision,
                "components": self.layout.components,
            }
        )

    def _state(self, simulation: int) -> str:
        expected = self._expected(simulation)
        path = self.path(simulation)
        if not path.exists():
            return "missing"
        try:
            return "valid" if self.format.read_fingerprint(path) == expected else "stale"
        except (OSError, ValueError):
            return "stale"

    def _warn(self, simulation: int, reason: str) -> None:
        log.warning("cache %s is %s; made anew", self.path(simulation), reason)


def checksum(array: NDArray[Any]) -> str:
    """A hash of an array's bytes."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the main one stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _build_one(job: tuple[TrajectoryCache, int]) -> None:
    cache, simulation = job
    cache.build(simulation)
