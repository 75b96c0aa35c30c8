"""Windows that are read from files in a thread while others are used."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any

from numpy.typing import NDArray

from hyco.interfaces import Windowed

Request = tuple[Sequence[int], Sequence[int], int]


class WindowsAhead:
    """The windows of a source; what is asked for next is read ahead where that is known.

    Only reading is done in the thread, of one request at a time, so that two are in memory at most.
    """

    def __init__(self, source: Windowed) -> None:
        self.source = source
        self._coming: dict[Any, Future[NDArray[Any]]] = {}

    def windows(self, simulations: Sequence[int], starts: Sequence[int], steps: int) -> NDArray[Any]:
        """What `Source.windows` gives: read ahead, or now."""
        coming = self._coming.pop(_key(simulations, starts, steps), None)
        return self.source.windows(simulations, starts, steps) if coming is None else coming.result()

    def along(self, requests: Iterable[Request | None]) -> Generator[None, None, None]:
        """One step per request, in which it is to be asked for; meanwhile the one after it is read.

        None is a request for nothing.  To be closed where not all steps are taken.
        """
        with ThreadPoolExecutor(1, "hyco-read-ahead") as thread:
            keys = (self._begin(thread, request) for request in requests)
            begun: tuple[Any, ...] = ()
            try:
                for begun in pairwise(chain(keys, [None])):
                    yield
                    self._coming.pop(begun[0], None)
            finally:
                for key in begun:
                    self._coming.pop(key, None)

    def _begin(self, thread: ThreadPoolExecutor, request: Request | None) -> Any:
        if request is None:
            return None
        key = _key(*request)
        self._coming[key] = thread.submit(self.source.windows, *request)
        return key


def _key(simulations: Sequence[int], starts: Sequence[int], steps: int) -> Any:
    return tuple(simulations), tuple(starts), steps
