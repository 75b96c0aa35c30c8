"""Trajectories kept in memory: the most recently used ones, within a limit of bytes and of time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Entry(Generic[T]):
    """A loaded item, what it weighs, and when it was last asked for."""

    item: T
    nbytes: int
    used: float


class TrajectoryMemory(Generic[T]):
    """The least recently used item goes first when the next one would not fit.

    The sum of the items never exceeds `limit_bytes`, except that a single item larger than that is held
    alone.  Items that nobody asked for during `ttl` seconds are dropped by the next `get`.

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
        self._drop_unused()
        if key not in self._entries:
            item, nbytes = load()
            self._make_room(nbytes)
            self._entries[key] = _Entry(item, nbytes, self._clock())
        entry = self._entries[key]
        entry.used = self._clock()
        self._entries.move_to_end(key)
        return entry.item

    def _drop_unused(self) -> None:
        """Drop what nobody asked for during the last `ttl` seconds; the oldest stand first."""
        if self.ttl is None:
            return
        oldest = self._clock() - self.ttl
        while self._entries and next(iter(self._entries.values())).used < oldest:
            self._entries.popitem(last=False)

    def _make_room(self, nbytes: int) -> None:
        """Drop the least recently used items until `nbytes` more fit, or nothing is left."""
        while self._entries and self.nbytes + nbytes > self.limit_bytes:
            self._entries.popitem(last=False)
