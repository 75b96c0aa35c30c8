"""Caches of trajectories: one file each, in a format that the mode chooses, valid for exactly one source.

A cache carries the fingerprint of what it was made from (the trajectory file and the precision) and a
checksum of what it holds, which says by which algorithm it was made: `xxh3:...`, or BLAKE2b where it says
nothing.  One that does not match or cannot be read is made anew, with a warning.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.storage.fingerprint import fingerprint
from hyco.storage.hdf5 import read_facts, read_fingerprint, read_trajectory, simulation_path
from hyco.storage.trajectory_facts import TrajectoryFacts, check_facts

Algorithm = Literal["blake2b", "xxh3"]
log = logging.getLogger("hyco.data")
STALE = "stale: unreadable, or made from another file or in another precision"


@dataclass(frozen=True)
class CacheEntry:
    """A cached trajectory (field, time, *space), and what it was made from.

    `fits`: a fingerprint of the problem that its source was found to be of; not all formats keep it.
    """

    array: NDArray[Any]
    fingerprint: str
    checksum: str
    fits: str = ""

    @property
    def intact(self) -> bool:
        """Whether the array is the one that the checksum was made of."""
        algorithm: Algorithm = "xxh3" if self.checksum.startswith("xxh3:") else "blake2b"
        return checksum(self.array, algorithm) == self.checksum


class RememberedFacts:
    """`read_facts` of files, each read again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], TrajectoryFacts]] = {}

    def __call__(self, path: Path) -> TrajectoryFacts:
        try:
            status = path.stat()
        except OSError:
            return read_facts(path)  # which says what is wrong
        version = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        known = self._known.get(path)
        if known is None or known[0] != version:
            known = self._known[path] = version, read_facts(path)
        return known[1]


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
        algorithm: of the checksums of caches that are made; any is understood in those that are read.
        facts: reads what a trajectory file says about itself.
        origin: reads (fingerprint, fits) of a cache, where the format keeps both; a source that is unchanged
            since is then not checked again.
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
    algorithm: Algorithm = "blake2b"
    facts: Callable[[Path], TrajectoryFacts] = read_facts
    origin: Callable[[Path], tuple[str, str]] | None = None

    def frames(self, simulation: int) -> int:
        """Frames of a trajectory, without loading it."""
        return self.facts(simulation_path(self.data_dir, simulation)).frames

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
                if not entry.intact:
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
        facts = self._facts(source)
        # before it is read: a cache of a file that was replaced meanwhile is then stale, not wrong
        made_from = self._fingerprint(source, facts.fingerprint)
        array = read_trajectory(source, grid=self.grid, layout=self.layout, dt=self.dt, facts=facts)
        array = np.ascontiguousarray(array, dtype=self.precision)
        entry = CacheEntry(array, made_from, checksum(array, self.algorithm), self._problem)
        self.format.write(self.path(simulation), entry)
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

    @cached_property
    def _problem(self) -> str:
        return fingerprint({"grid": self.grid, "layout": self.layout, "dt": self.dt})

    def _facts(self, source: Path) -> TrajectoryFacts:
        """What a trajectory file says about itself; raises DataError when it is of another problem."""
        facts = self.facts(source)
        check_facts(source, facts, grid=self.grid, layout=self.layout, dt=self.dt)
        return facts

    def _fingerprint(self, source: Path, generated_from: str) -> str:
        """What a cache of this file, as it is now, is made from."""
        status = source.stat()
        return fingerprint(
            {
                "generated from": generated_from,
                "size": status.st_size,
                "changed": status.st_mtime_ns,
                "precision": self.precision,
                "components": self.layout.components,
            }
        )

    def _state(self, simulation: int) -> str:
        source, path = simulation_path(self.data_dir, simulation), self.path(simulation)
        if self._is_known(source, path):
            return "valid"
        expected = self._fingerprint(source, self._facts(source).fingerprint)
        if not path.exists():
            return "missing"
        try:
            return "valid" if self.format.read_fingerprint(path) == expected else "stale"
        except (OSError, ValueError):
            return "stale"

    def _is_known(self, source: Path, path: Path) -> bool:
        """Whether a cache was made from the source as it is now, and the source checked for this problem."""
        if self.origin is None:
            return False
        try:
            made_from, fits = self.origin(path)
        except (OSError, ValueError):
            return False
        return fits == self._problem and made_from == self._fingerprint(source, read_fingerprint(source))

    def _warn(self, simulation: int, reason: str) -> None:
        log.warning("cache %s is %s; made anew", self.path(simulation), reason)


def checksum(array: NDArray[Any], algorithm: Algorithm = "blake2b") -> str:
    """A hash of an array's bytes: BLAKE2b, or XXH3, which finds damage as well, at the speed of memory."""
    data = np.ascontiguousarray(array)
    if algorithm == "xxh3":
        return f"xxh3:{xxhash.xxh3_128_hexdigest(data.data)}"
    return hashlib.blake2b(data.tobytes(), digest_size=16).hexdigest()


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the main one stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _build_one(job: tuple[TrajectoryCache, int]) -> None:
    cache, simulation = job
    cache.build(simulation)
