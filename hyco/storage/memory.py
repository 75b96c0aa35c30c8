"""Trajectories in memory: the most recently used ones, within limits; some read before they are asked for."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass
class _Entry(Generic[T]):
    """A loaded item, what it weighs, and when it was last asked for."""

    item: T
    nbytes: int
    used: float


class TrajectoryMemory(Generic[T]):
    """The least recently used item goes first when the next one would not fit.

    The sum of the items, and of what is reserved for those to come, never exceeds `limit_bytes`, except that
    a single item larger than that is held alone.  Items that nobody asked for during `ttl` seconds are
    dropped by the next `get`.

    Args:
        limit_bytes: how much may be held.
        ttl: seconds an item stays after its last use; None: for ever.
        clock: the time in seconds, only differences of which count.
    """

    def __init__(
        self, limit_bytes: int, ttl: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if limit_bytes < 0 or (ttl is not None and ttl < 0):
            raise ValueError(f"the limit and the time to live must not be negative: {limit_bytes}, {ttl}")
        self.limit_bytes = limit_bytes
        self.ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._reserved = 0

    @property
    def nbytes(self) -> int:
        """How much is held, in bytes."""
        return sum(entry.nbytes for entry in self._entries.values())

    def __len__(self) -> int:
        """How many items are held."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether an item is held."""
        return key in self._entries

    def get(self, key: Hashable, load: Callable[[], tuple[T, int]]) -> T:
        """The item of that key; `load` makes it, and says how many bytes it takes, when it is not held."""
        found = self.find(key)
        if found is not None:
            return found
        item, nbytes = load()
        self.make_room(nbytes)
        self._entries[key] = _Entry(item, nbytes, self._clock())
        return item

    def find(self, key: Hashable) -> T | None:
        """The item of that key, if it is held."""
        if self.ttl is not None:
            self._drop_unused(self.ttl)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self.ttl is not None:
            entry.used = self._clock()
        self._entries.move_to_end(key)
        return entry.item

    def make_room(self, nbytes: int) -> None:
        """Drop the least recently used items until `nbytes` more fit, or nothing is left."""
        while self._entries and self.nbytes + self._reserved + nbytes > self.limit_bytes:
            self._entries.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Hold an item no longer, if it is held."""
        self._entries.pop(key, None)

    def reserve(self, nbytes: int) -> bool:
        """Keep room for an item to come, where there is some beside all that is held; whether there is."""
        fits = self.nbytes + self._reserved + nbytes <= self.limit_bytes
        self._reserved += nbytes * fits
        return fits

    def release(self, nbytes: int) -> None:
        """Give back what was reserved."""
        self._reserved -= nbytes

    def _drop_unused(self, ttl: float) -> None:
        """Drop what nobody asked for during the last `ttl` seconds; the oldest stand first."""
        oldest = self._clock() - ttl
        while self._entries and next(iter(self._entries.values())).used < oldest:
            self._entries.popitem(last=False)


class ReadAhead(Generic[K, T]):
    """Reads items in a thread before they are asked for, as soon as there is room for them in a memory.

    To be used in a `with` statement, at whose end there is no thread any more.  Only reading is done in the
    thread; the memory is touched by the caller's alone.

    Args:
        memory: in which the items will be held.
        coming: their keys, in the order in which they will first be asked for.
        read: makes an item; what it raises is raised by `take`.
        nbytes: how much an item takes.
    """

    def __init__(
        self,
        memory: TrajectoryMemory[object],
        coming: Iterable[K],
        read: Callable[[K], T],
        nbytes: Callable[[K], int],
    ) -> None:
        self._memory = memory
        self._coming = deque(key for key in dict.fromkeys(coming) if key not in memory)
        self._read = read
        self._nbytes = nbytes
        self._ahead: dict[K, Future[T]] = {}
        self._used: deque[K] = deque()
        self._thread = ThreadPoolExecutor(1, "hyco-read-ahead")

    def __enter__(self) -> ReadAhead[K, T]:
        self._go_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
        for key in list(self._ahead):
            self._forget(key)

    def __contains__(self, key: K) -> bool:
        """Whether an item was read ahead, or will be."""
        return key in self._ahead or key in self._coming

    def take(self, key: K) -> T:
        """The item: what was read ahead, or is read now."""
        if key in self._ahead:
            return self._forget(key).result()
        if key in self._coming:
            self._coming.remove(key)
        return self._read(key)

    def finish(self, keys: Iterable[K]) -> None:
        """These were asked for for the last time, if at all, and make room for the next."""
        for key in keys:
            if key in self._ahead:
                self._forget(key)
            self._used.append(key)
        self._go_on()

    def _forget(self, key: K) -> Future[T]:
        self._memory.release(self._nbytes(key))
        return self._ahead.pop(key)

    def _go_on(self) -> None:
        """Begin to read what there is room for."""
        while self._coming:
            nbytes = self._nbytes(self._coming[0])
            while not self._memory.reserve(nbytes):
                if not self._used:
                    return
                self._memory.drop(self._used.popleft())
            key = self._coming.popleft()
            self._ahead[key] = self._thread.submit(self._read, key)
